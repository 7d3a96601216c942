# SPDX-License-Identifier: Apache-2.0
# What a change of variables does to machines that are there: a container is made, then planned for again. The mocked
# provider does not know which arguments make a machine anew; what is looked at is that those stay as they were.

mock_provider "proxmox" {}

variables {
  place = {
    node               = "pve"
    container_template = "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"
    storage            = "local-lvm"
    bridge             = "vmbr0"
    vlan               = null
    prefix_length      = 24
    gateway            = "10.0.0.1"
    dns_servers        = ["10.0.0.1"]
    ssh_keys           = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHfVbQxcKAlbYSZp7gTFlVqZ6TOrcAgeWpLHmqQgBPy operator"]
    host_keys          = {}
    proxmox_firewall   = true
  }
  name          = "postgres"
  vm_id         = 5200
  address       = "10.0.0.200"
  size          = { cores = 2, memory_mb = 2048, disk_gb = 8, data_gb = 16 }
  data_path     = "/var/lib/postgresql"
  openings      = []
  user_data     = "#cloud-config\n"
  secrets       = {}
  protect       = true
  startup_order = 1
}

run "the_container_is_made" {
  # without what goes over SSH
  plan_options {
    target = [proxmox_virtual_environment_container.this]
  }
  module {
    source = "./modules/container"
  }

  assert {
    condition     = proxmox_virtual_environment_container.this.protection && proxmox_virtual_environment_container.this.mount_point[0].size == "16G"
    error_message = "not protected, or not of the size that was asked for"
  }
}

run "a_larger_volume_does_not_touch_it" {
  command = plan
  plan_options {
    target = [proxmox_virtual_environment_container.this]
  }
  module {
    source = "./modules/container"
  }
  variables {
    size = { cores = 4, memory_mb = 4096, disk_gb = 16, data_gb = 32 }
  }

  assert {
    condition     = proxmox_virtual_environment_container.this.mount_point[0].size == "16G" && proxmox_virtual_environment_container.this.disk[0].size == 8
    error_message = "the provider would make the container anew for this, without its data"
  }
  assert {
    condition     = proxmox_virtual_environment_container.this.cpu[0].cores == 4 && proxmox_virtual_environment_container.this.memory[0].dedicated == 4096
    error_message = "processors and memory do not follow"
  }
}

run "another_address_is_refused" {
  command = plan
  plan_options {
    target = [proxmox_virtual_environment_container.this]
  }
  module {
    source = "./modules/container"
  }
  variables {
    address = "10.1.0.200"
  }
  expect_failures = [proxmox_virtual_environment_container.this]
}
