# SPDX-License-Identifier: Apache-2.0
# The machines of the reference plant. What each of them becomes is in cloud-init/; which passwords it is given is here.

locals {
  # What is the same for all machines. A module takes of it what it knows.
  place = {
    node               = var.node
    template_vm_id     = var.template_vm_id
    container_template = var.container_template
    storage            = var.storage
    snippet_storage    = var.snippet_storage
    bridge             = var.bridge
    vlan               = var.vlan
    prefix_length      = local.prefix_length
    gateway            = local.gateway
    dns_servers        = local.dns_servers
    ssh_user           = var.ssh_user
    ssh_keys           = var.ssh_keys
    host_keys          = var.host_keys
    proxmox_firewall   = var.proxmox_firewall
  }
}

module "postgres" {
  source = "./modules/container"

  place            = local.place
  name             = "postgres"
  vm_id            = local.vm_id.postgres
  address          = local.address.postgres
  size             = var.sizes.postgres
  data_path        = "/var/lib/postgresql"
  openings         = local.openings.postgres
  user_data        = local.user_data.postgres
  protect          = var.protect_data
  secrets          = { postgres_password = var.postgres_password }
  secrets_revision = var.secrets_revision
  startup_order    = 1
}

module "mongo" {
  source = "./modules/container"

  place            = local.place
  name             = "mongo"
  vm_id            = local.vm_id.mongo
  address          = local.address.mongo
  size             = var.sizes.mongo
  data_path        = "/var/lib/mongodb"
  openings         = local.openings.mongo
  user_data        = local.user_data.mongo
  protect          = var.protect_data
  secrets          = { mongo_password = var.mongo_password }
  secrets_revision = var.secrets_revision
  startup_order    = 1
}

module "redis" {
  source = "./modules/vm"

  place            = local.place
  name             = "redis"
  vm_id            = local.vm_id.redis
  address          = local.address.redis
  size             = var.sizes.redis
  openings         = local.openings.redis
  user_data        = local.user_data.redis
  protect          = var.protect_data
  secrets          = { redis_password = var.redis_password, redis_auth = "requirepass ${var.redis_password}" }
  secrets_revision = var.secrets_revision
  source_ref       = var.redis_image == "" ? var.source_ref : ""
  startup_order    = 1
}

module "web" {
  source   = "./modules/vm"
  for_each = local.web

  place     = local.place
  name      = each.key
  vm_id     = local.vm_id[each.key]
  address   = local.address[each.key]
  size      = var.sizes.web
  openings  = local.openings.web
  user_data = local.user_data[each.key]
  secrets = {
    redis_password = var.redis_password
    pgpass         = "${local.address.postgres}:5432:urldb:sluice:${var.postgres_password}"
  }
  secrets_revision = var.secrets_revision
  source_ref       = var.sluice_image == "" ? var.source_ref : ""
  after            = [module.postgres.ready, module.redis.ready]
  startup_order    = 2
}

module "lb" {
  source = "./modules/vm"

  place         = local.place
  name          = "lb"
  vm_id         = local.vm_id.lb
  address       = local.address.lb
  size          = var.sizes.lb
  openings      = local.openings.lb
  user_data     = local.user_data.lb
  after         = [for name in local.web_names : module.web[name].ready]
  startup_order = 3
}

module "load" {
  source = "./modules/vm"

  place         = local.place
  name          = "load"
  vm_id         = local.vm_id.load
  address       = local.address.load
  size          = var.sizes.load
  openings      = local.openings.load
  user_data     = local.user_data.load
  startup_order = 4
}
