# SPDX-License-Identifier: Apache-2.0
# Where each machine is, what it may be asked by whom, and what cloud-init is told.

locals {
  # The last part of each address, from the reference plant.
  places = { lb = 100, redis = 130, load = 160, postgres = 200, mongo = 210 }
  web    = { for i in range(var.web_count) : "web-${i + 1}" => 111 + i }

  all_places = merge(local.places, local.web)
  address    = { for name, place in local.all_places : name => cidrhost(var.network, place) }
  vm_id      = { for name, place in local.all_places : name => var.vm_id_base + place }

  prefix_length  = split("/", var.network)[1]
  gateway        = coalesce(var.gateway, cidrhost(var.network, 1))
  dns_servers    = length(var.dns_servers) > 0 ? var.dns_servers : [local.gateway]
  admin_networks = length(var.admin_networks) > 0 ? var.admin_networks : [var.network]

  web_names     = [for i in range(var.web_count) : "web-${i + 1}"]
  web_addresses = [for name in local.web_names : local.address[name]]

  # Who may reach which port. Everything else that comes to a machine is dropped, but ping and what belongs to a
  # connection that it made itself.
  ssh = [{ comment = "SSH", port = 22, sources = local.admin_networks }]
  openings = {
    lb       = concat(local.ssh, [{ comment = "HTTP for everybody", port = 80, sources = ["0.0.0.0/0"] }])
    web      = concat(local.ssh, [{ comment = "HTTP for nginx, metrics for administrators", port = 80, sources = concat([local.address.lb], local.admin_networks) }])
    redis    = concat(local.ssh, [{ comment = "Redis for the web servers", port = 6379, sources = local.web_addresses }])
    postgres = concat(local.ssh, [{ comment = "PostgreSQL for the web servers", port = 5432, sources = local.web_addresses }])
    mongo    = concat(local.ssh, [{ comment = "MongoDB for the web servers", port = 27017, sources = local.web_addresses }])
    load     = local.ssh
  }
}

# --- cloud-init ---

locals {
  files = "${path.module}/cloud-init/files"

  # The nginx settings are those of deploy/nginx/sluice.conf; only the servers of the upstream are exchanged.
  nginx_template = file("${path.module}/../nginx/sluice.conf")
  nginx_servers  = join("\n", [for address in local.web_addresses : "\tserver ${address}:80 max_fails=2 fail_timeout=5s;"])
  nginx_conf = replace(
    replace(local.nginx_template, "/\n\t(# One more: |#?server [0-9])[^\n]*/", ""),
    "/(\n\tzone sluice [^\n]*\n)/", "$1\n${local.nginx_servers}\n"
  )

  images = {
    sluice = coalesce(var.sluice_image, "sluice:local")
    redis  = coalesce(var.redis_image, "sluice-redis:local")
  }

  # Connections of Sluice to PostgreSQL: one a thread and one more, twice that for a moment when all reconnect. Never less
  # than PostgreSQL's own figure: another one takes a restart, and one more web server should not.
  postgres_connections = max(100, var.web_count * (var.sizes.web.cores + 1) * 2 + 20)

  # What is the same on every machine: the firewall, how secrets arrive, what brings the service up.
  shared = {
    for role, openings in local.openings : role => {
      nftables = templatefile("${local.files}/nftables.conf.tftpl", { openings = openings })
      receive  = file("${local.files}/sluice-receive")
      update   = file("${local.files}/sluice-update")
      unit     = file("${local.files}/sluice-setup.service")
    }
  }

  user_data = merge(
    {
      lb = templatefile("${path.module}/cloud-init/lb.yaml.tftpl", merge(local.shared.lb, {
        head       = local.head.lb
        nginx_conf = local.nginx_conf
      }))
      redis = templatefile("${path.module}/cloud-init/redis.yaml.tftpl", merge(local.shared.redis, {
        head    = local.head.redis
        compose = file("${path.module}/../compose/redis.yaml")
        image   = local.images.redis
        build   = var.redis_image == "" ? "redis" : ""
        address = local.address.redis
        setup   = file("${local.files}/docker-setup")
        redis_conf = templatefile("${local.files}/redis.conf.tftpl", {
          # while its file is rewritten a second copy of all that changes meanwhile has to find room, and so does the system
          maxmemory_mb = floor(var.sizes.redis.memory_mb * 0.4)
        })
      }))
      load = templatefile("${path.module}/cloud-init/load.yaml.tftpl", merge(local.shared.load, {
        head       = local.head.load
        apt_source = file("${local.files}/add-apt-source")
        setup      = file("${local.files}/load-setup")
        scripts    = { for name in fileset("${path.module}/../k6", "**/*.js") : name => file("${path.module}/../k6/${name}") }
        base_url   = "http://${local.address.lb}"
      }))
      postgres = templatefile("${path.module}/cloud-init/postgres.yaml.tftpl", merge(local.shared.postgres, {
        head  = local.head.postgres
        setup = file("${local.files}/postgres-setup")
        postgresql_conf = templatefile("${local.files}/postgresql.conf.tftpl", {
          address     = local.address.postgres
          connections = local.postgres_connections
          memory_mb   = var.sizes.postgres.memory_mb
          cores       = var.sizes.postgres.cores
        })
        pg_hba = templatefile("${local.files}/pg_hba.conf.tftpl", { web = local.web_addresses })
      }))
      mongo = templatefile("${path.module}/cloud-init/mongo.yaml.tftpl", merge(local.shared.mongo, {
        head       = local.head.mongo
        apt_source = file("${local.files}/add-apt-source")
        setup      = file("${local.files}/mongo-setup")
        users      = file("${local.files}/mongo-users.js")
        mongod_conf = templatefile("${local.files}/mongod.conf.tftpl", {
          address  = local.address.mongo
          cache_gb = max(0.25, floor(var.sizes.mongo.memory_mb / 1024 * 0.5 * 4) / 4)
        })
      }))
    },
    {
      for name in local.web_names : name => templatefile("${path.module}/cloud-init/web.yaml.tftpl", merge(local.shared.web, {
        head    = local.head[name]
        compose = file("${path.module}/../compose/web.yaml")
        image   = local.images.sluice
        build   = var.sluice_image == "" ? "sluice" : ""
        setup   = file("${local.files}/docker-setup")
        sluice_yaml = templatefile("${local.files}/sluice.yaml.tftpl", {
          lb           = local.address.lb
          redis        = local.address.redis
          postgres     = local.address.postgres
          public_names = concat(var.public_names, [local.address.lb])
          servers      = var.web_count
          limit        = split("/", var.limit)[0]
          window       = split("/", var.limit)[1]
        })
      }))
    }
  )

  head = {
    for name in concat(keys(local.places), local.web_names) : name => templatefile("${path.module}/cloud-init/head.yaml.tftpl", {
      name     = name
      vm       = !contains(["postgres", "mongo"], name)
      ssh_user = var.ssh_user
      ssh_keys = var.ssh_keys
    })
  }
}
