# SPDX-License-Identifier: Apache-2.0
# A VM, cloned from the cloud-init template, with its firewall; then what cloud-init must not hold is brought to it.

resource "proxmox_virtual_environment_file" "user_data" {
  node_name    = var.place.node
  datastore_id = var.place.snippet_storage
  content_type = "snippets"

  source_raw {
    file_name = "sluice-${var.name}.yaml"
    data      = var.user_data
  }
}

resource "proxmox_virtual_environment_vm" "this" {
  name        = var.name
  description = "Sluice: ${var.name}"
  tags        = ["sluice"]
  node_name   = var.place.node
  vm_id       = var.vm_id
  on_boot     = true
  protection  = var.protect

  clone {
    vm_id        = var.place.template_vm_id
    datastore_id = var.place.storage
    full         = true
    retries      = 3
  }

  # The guest agent is installed by cloud-init: `tofu apply` goes on when the machine has come that far.
  agent {
    enabled = true
    timeout = "15m"
  }
  stop_on_destroy = true

  startup {
    order = var.startup_order
  }

  operating_system {
    type = "l26"
  }

  cpu {
    cores = var.size.cores
    type  = "x86-64-v2-AES"
  }

  memory {
    dedicated = var.size.memory_mb
  }

  scsi_hardware = "virtio-scsi-single"

  disk {
    datastore_id = var.place.storage
    interface    = "scsi0"
    size         = var.size.disk_gb
    discard      = "on"
    iothread     = true
  }

  # virtio, whose serial number is the name below /dev/disk/by-id: which of two disks is sda may change.
  dynamic "disk" {
    for_each = var.size.data_gb > 0 ? [var.size.data_gb] : []
    content {
      datastore_id = var.place.storage
      interface    = "virtio1"
      serial       = "sluice-data"
      size         = disk.value
      file_format  = "raw"
      discard      = "on"
      iothread     = true
    }
  }

  network_device {
    bridge   = var.place.bridge
    vlan_id  = var.place.vlan
    firewall = var.place.proxmox_firewall
  }

  # Debian's cloud images want a serial console.
  serial_device {}

  initialization {
    datastore_id      = var.place.storage
    user_data_file_id = proxmox_virtual_environment_file.user_data.id

    ip_config {
      ipv4 {
        address = "${var.address}/${var.place.prefix_length}"
        gateway = var.place.gateway
      }
    }

    dns {
      servers = var.place.dns_servers
    }
  }

  lifecycle {
    # cloud-init acts on the first start only, and the provider would make a new VM, with empty disks, for each change of
    # a template. modules/deliver brings changes to the machine; it is made anew when its owner says so.
    ignore_changes = [initialization, clone]

    postcondition {
      condition     = self.initialization[0].ip_config[0].ipv4[0].address == "${var.address}/${var.place.prefix_length}"
      error_message = "${var.name} is at ${self.initialization[0].ip_config[0].ipv4[0].address}, and addresses are for the first start: make it anew (README, Changes), or leave network as it was."
    }
  }
}

module "firewall" {
  source = "../firewall"
  count  = var.place.proxmox_firewall ? 1 : 0

  node     = var.place.node
  vm_id    = proxmox_virtual_environment_vm.this.vm_id
  openings = var.openings
}

module "deliver" {
  source = "../deliver"

  name             = var.name
  machine          = proxmox_virtual_environment_vm.this.id
  address          = var.address
  user             = var.place.ssh_user
  host_key         = lookup(var.place.host_keys, var.name, null)
  user_data        = var.user_data
  secrets          = var.secrets
  secrets_revision = var.secrets_revision
  source_ref       = var.source_ref
  after            = var.after
}
