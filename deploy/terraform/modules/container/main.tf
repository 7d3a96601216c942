# SPDX-License-Identifier: Apache-2.0
# An LXC container, with its firewall. Proxmox gives a container its name, address and SSH keys, but no cloud-init: so
# cloud-init is installed over SSH, once, and told the same kind of file as a VM. It acts again, in place, when the file has
# changed.

resource "proxmox_virtual_environment_container" "this" {
  description   = "Sluice: ${var.name}"
  tags          = ["sluice"]
  node_name     = var.place.node
  vm_id         = var.vm_id
  unprivileged  = true
  start_on_boot = true
  protection    = var.protect

  startup {
    order = var.startup_order
  }

  # systemd in a Debian 12 container sandboxes its services with namespaces.
  features {
    nesting = true
  }

  operating_system {
    template_file_id = var.place.container_template
    type             = "debian"
  }

  cpu {
    cores = var.size.cores
  }

  memory {
    dedicated = var.size.memory_mb
    swap      = 0
  }

  disk {
    datastore_id = var.place.storage
    size         = var.size.disk_gb
  }

  mount_point {
    volume = var.place.storage
    size   = "${var.size.data_gb}G"
    path   = var.data_path
    backup = true
  }

  network_interface {
    name     = "eth0"
    bridge   = var.place.bridge
    vlan_id  = var.place.vlan
    firewall = var.place.proxmox_firewall
  }

  initialization {
    hostname = var.name

    ip_config {
      ipv4 {
        address = "${var.address}/${var.place.prefix_length}"
        gateway = var.place.gateway
      }
    }

    dns {
      servers = var.place.dns_servers
    }

    user_account {
      keys = var.place.ssh_keys
    }
  }

  lifecycle {
    # A new template or key must not cost the data: tofu apply -replace=… when that is meant. Nor a larger volume or another
    # storage, for which the provider makes the container anew (its issue 2995): `pct resize` and `pct move-volume` do that.
    ignore_changes = [operating_system, initialization, disk, mount_point]

    postcondition {
      condition     = self.initialization[0].ip_config[0].ipv4[0].address == "${var.address}/${var.place.prefix_length}"
      error_message = "${var.name} is at ${self.initialization[0].ip_config[0].ipv4[0].address}, and addresses are for the first start: make it anew (README, Changes), or leave network as it was."
    }
  }
}

module "firewall" {
  source = "../firewall"
  count  = var.place.proxmox_firewall ? 1 : 0

  node         = var.place.node
  container_id = proxmox_virtual_environment_container.this.vm_id
  openings     = var.openings
}

resource "terraform_data" "cloud_init" {
  triggers_replace = [proxmox_virtual_environment_container.this.id, sha256(var.user_data)]

  connection {
    type     = "ssh"
    host     = var.address
    user     = "root"
    host_key = lookup(var.place.host_keys, var.name, null)
    timeout  = "15m"
  }

  provisioner "remote-exec" {
    inline = ["mkdir -p /var/lib/cloud/seed/nocloud"]
  }

  provisioner "file" {
    content     = var.user_data
    destination = "/var/lib/cloud/seed/nocloud/user-data"
  }

  # Another instance is what makes cloud-init act again.
  provisioner "file" {
    content     = "instance-id: sluice-${sha256(var.user_data)}\nlocal-hostname: ${var.name}\n"
    destination = "/var/lib/cloud/seed/nocloud/meta-data"
  }

  provisioner "remote-exec" {
    script = "${path.module}/start-cloud-init"
  }
}

module "deliver" {
  source = "../deliver"

  name             = var.name
  machine          = terraform_data.cloud_init.id
  address          = var.address
  user             = "root"
  host_key         = lookup(var.place.host_keys, var.name, null)
  user_data        = var.user_data
  secrets          = var.secrets
  secrets_revision = var.secrets_revision
}
