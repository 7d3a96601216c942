# SPDX-License-Identifier: Apache-2.0
# Wrong values, by themselves or beside others: each is refused by the variable's own check, before anything is made.

mock_provider "proxmox" {}

variables {
  ssh_keys          = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHfVbQxcKAlbYSZp7gTFlVqZ6TOrcAgeWpLHmqQgBPy operator"]
  redis_password    = "redis-password-of-the-tests"
  postgres_password = "postgres-password-of-the-tests"
  mongo_password    = "mongo-password-of-the-tests"
}

run "no_web_server" {
  command = plan
  variables {
    web_count = 0
  }
  expect_failures = [var.web_count]
}

run "too_many_web_servers" {
  command = plan
  variables {
    web_count = 20
  }
  expect_failures = [var.web_count]
}

run "half_a_web_server" {
  command = plan
  variables {
    web_count = 1.5
  }
  expect_failures = [var.web_count]
}

run "network_with_host_bits" {
  command = plan
  variables {
    network = "10.0.0.1/24"
  }
  expect_failures = [var.network]
}

run "network_too_small" {
  command = plan
  variables {
    network = "10.0.0.0/25"
  }
  expect_failures = [var.network]
}

run "network_that_is_none" {
  command = plan
  variables {
    network = "10.0.0/24"
  }
  expect_failures = [var.network]
}

run "network_of_ipv6" {
  command = plan
  variables {
    network = "fd00::/64"
  }
  expect_failures = [var.network]
}

run "gateway_that_is_none" {
  command = plan
  variables {
    gateway = "10.0.0.256"
  }
  expect_failures = [var.gateway]
}

run "dns_server_by_name" {
  command = plan
  variables {
    dns_servers = ["dns.lan"]
  }
  expect_failures = [var.dns_servers]
}

run "administrators_without_prefix" {
  command = plan
  variables {
    admin_networks = ["10.0.0.7"]
  }
  expect_failures = [var.admin_networks]
}

run "no_key" {
  command = plan
  variables {
    ssh_keys = []
  }
  expect_failures = [var.ssh_keys]
}

run "private_key" {
  command = plan
  variables {
    ssh_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]
  }
  expect_failures = [var.ssh_keys]
}

run "key_with_a_second_line" {
  command = plan
  variables {
    ssh_keys = ["ssh-ed25519 AAAA a\nroot: yes"]
  }
  expect_failures = [var.ssh_keys]
}

run "root_as_user" {
  command = plan
  variables {
    ssh_user = "root"
  }
  expect_failures = [var.ssh_user]
}

run "short_password" {
  command = plan
  variables {
    redis_password = "short"
  }
  expect_failures = [var.redis_password]
}

run "password_with_quotes" {
  command = plan
  variables {
    postgres_password = "it's-not-good-enough'"
  }
  expect_failures = [var.postgres_password]
}

run "password_with_blanks" {
  command = plan
  variables {
    mongo_password = "correct horse battery staple"
  }
  expect_failures = [var.mongo_password]
}

run "template_id_too_small" {
  command = plan
  variables {
    template_vm_id = 99
  }
  expect_failures = [var.template_vm_id]
}

run "container_of_another_system" {
  command = plan
  variables {
    container_template = "local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"
  }
  expect_failures = [var.container_template]
}

run "vlan_too_large" {
  command = plan
  variables {
    vlan = 4095
  }
  expect_failures = [var.vlan]
}

run "bridge_too_long" {
  command = plan
  variables {
    bridge = "bridge_of_many_letters"
  }
  expect_failures = [var.bridge]
}

run "endpoint_without_tls" {
  command = plan
  variables {
    proxmox_endpoint = "http://pve.lan:8006/"
  }
  expect_failures = [var.proxmox_endpoint]
}

run "node_with_blank" {
  command = plan
  variables {
    node = "my node"
  }
  expect_failures = [var.node]
}

run "image_with_blank" {
  command = plan
  variables {
    sluice_image = "registry.lan/sluice latest"
  }
  expect_failures = [var.sluice_image]
}

run "limit_without_unit" {
  command = plan
  variables {
    limit = "10/60"
  }
  expect_failures = [var.limit]
}

run "too_little_memory" {
  command = plan
  variables {
    sizes = { redis = { memory_mb = 256 } }
  }
  expect_failures = [var.sizes]
}

run "no_cores" {
  command = plan
  variables {
    sizes = { web = { cores = 0 } }
  }
  expect_failures = [var.sizes]
}

run "no_revision" {
  command = plan
  variables {
    secrets_revision = 0
  }
  expect_failures = [var.secrets_revision]
}

run "name_with_path" {
  command = plan
  variables {
    public_names = ["sho.rt/x"]
  }
  expect_failures = [var.public_names]
}

run "ref_like_an_option" {
  command = plan
  variables {
    source_ref = "--output=/etc/passwd"
  }
  expect_failures = [var.source_ref]
}

run "gateway_outside_the_network" {
  command = plan
  variables {
    gateway = "10.0.1.1"
  }
  expect_failures = [var.gateway]
}

run "gateway_at_the_place_of_a_machine" {
  command = plan
  variables {
    gateway = "10.0.0.130"
  }
  expect_failures = [var.gateway]
}

run "gateway_with_a_prefix" {
  command = plan
  variables {
    gateway = "10.0.0.1/24"
  }
  expect_failures = [var.gateway]
}

run "administrators_with_host_bits" {
  command = plan
  variables {
    admin_networks = ["192.168.1.7/24"]
  }
  expect_failures = [var.admin_networks]
}

run "administrators_of_ipv6" {
  command = plan
  variables {
    admin_networks = ["fd00::/64"]
  }
  expect_failures = [var.admin_networks]
}

run "template_with_the_identifier_of_a_machine" {
  command = plan
  variables {
    template_vm_id = 5130
  }
  expect_failures = [var.vm_id_base]
}

run "half_a_gigabyte" {
  command = plan
  variables {
    sizes = { postgres = { data_gb = 16.5 } }
  }
  expect_failures = [var.sizes]
}

run "host_key_of_no_machine" {
  command = plan
  variables {
    host_keys = { web-3 = "ecdsa-sha2-nistp256 AAAA" }
  }
  expect_failures = [var.host_keys]
}

run "host_key_of_another_kind" {
  command = plan
  variables {
    host_keys = { redis = "ssh-ed25519 AAAA" }
  }
  expect_failures = [var.host_keys]
}

run "limit_above_all_bounds" {
  command = plan
  variables {
    limit = "16777217/1s"
  }
  expect_failures = [var.limit]
}

run "storage_of_one_letter" {
  command = plan
  variables {
    storage = "-"
  }
  expect_failures = [var.storage]
}

run "snippet_storage_with_blank" {
  command = plan
  variables {
    snippet_storage = "my store"
  }
  expect_failures = [var.snippet_storage]
}

run "vm_id_base_too_large" {
  command = plan
  variables {
    vm_id_base = 999999999
  }
  expect_failures = [var.vm_id_base]
}

run "user_of_the_node_with_blank" {
  command = plan
  variables {
    node_ssh_user = "ro ot"
  }
  expect_failures = [var.node_ssh_user]
}

run "redis_image_with_blank" {
  command = plan
  variables {
    redis_image = "registry.lan/redis latest"
  }
  expect_failures = [var.redis_image]
}
