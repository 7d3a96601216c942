# SPDX-License-Identifier: Apache-2.0
# The plant without a Proxmox: resources are mocked, plans are looked at. `tofu test`, or `make terraform`.

mock_provider "proxmox" {}

variables {
  ssh_keys          = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHfVbQxcKAlbYSZp7gTFlVqZ6TOrcAgeWpLHmqQgBPy operator"]
  redis_password    = "redis-password-of-the-tests"
  postgres_password = "postgres-password-of-the-tests"
  mongo_password    = "mongo-password-of-the-tests"
}

run "the_reference_plant" {
  command = plan

  assert {
    condition = output.addresses == {
      lb   = "10.0.0.100", "web-1" = "10.0.0.111", "web-2" = "10.0.0.112", redis = "10.0.0.130"
      load = "10.0.0.160", postgres = "10.0.0.200", mongo = "10.0.0.210"
    }
    error_message = "not the addresses of the reference plant: ${jsonencode(output.addresses)}"
  }
  assert {
    condition     = output.url == "http://10.0.0.100/"
    error_message = "the URL is not the load balancer's: ${output.url}"
  }
  assert {
    condition     = output.load_test == "ssh debian@10.0.0.160 k6 run -e BASE_URL=http://10.0.0.100 /opt/k6/rate-test.js"
    error_message = output.load_test
  }
  assert {
    condition     = module.web["web-2"].id == 5112 && module.postgres.id == 5200
    error_message = "the identifiers do not follow the addresses"
  }
  # deploy/nginx/sluice.conf is written for this very plant: exchanging its servers must change no setting of it.
  assert {
    condition = (
      join("\n", [for line in split("\n", local.nginx_conf) : trimspace(line) if !startswith(trimspace(line), "#") && trimspace(line) != ""])
      == join("\n", [for line in split("\n", file("../nginx/sluice.conf")) : trimspace(line) if !startswith(trimspace(line), "#") && trimspace(line) != ""])
    )
    error_message = "nginx is configured otherwise than by deploy/nginx/sluice.conf"
  }
  assert {
    condition     = !strcontains(jsonencode(local.user_data), "-of-the-tests")
    error_message = "a password is in what cloud-init is told"
  }
  assert {
    condition     = local.postgres_connections == 100
    error_message = "PostgreSQL has not room for ${var.web_count} web servers, or one more would restart it: ${local.postgres_connections}"
  }
}

run "three_web_servers" {
  command = plan
  variables {
    web_count = 3
  }

  assert {
    condition     = keys(module.web) == ["web-1", "web-2", "web-3"] && output.addresses["web-3"] == "10.0.0.113"
    error_message = "not three web servers"
  }
  assert {
    condition     = length(regexall("(?m)^\tserver 10\\.0\\.0\\.11[123]:80 max_fails=2 fail_timeout=5s;$", local.nginx_conf)) == 3 && length(regexall("(?m)^\t#?server ", local.nginx_conf)) == 3
    error_message = "nginx's upstream does not have these three servers alone"
  }
  assert {
    condition = alltrue([for role in ["redis", "postgres", "mongo"] :
      [for opening in local.openings[role] : opening.sources if opening.port != 22] == [["10.0.0.111", "10.0.0.112", "10.0.0.113"]]
    ])
    error_message = "the stores are not open for the web servers alone"
  }
  assert {
    condition     = length(regexall("(?m)^ *host +urldb +sluice +10\\.0\\.0\\.11[123]/32 +scram-sha-256$", output.user_data.postgres)) == 3 && length(regexall("(?m)^ *host ", output.user_data.postgres)) == 3
    error_message = "PostgreSQL does not take connections from the web servers alone"
  }
  assert {
    condition     = strcontains(output.user_data["web-1"], "servers: 3")
    error_message = "the servers do not know how many they are"
  }
}

run "another_network" {
  command = plan
  variables {
    network        = "192.168.64.0/22"
    gateway        = "192.168.67.254"
    admin_networks = ["172.16.5.0/24"]
    vm_id_base     = 700
  }

  assert {
    condition     = output.addresses.lb == "192.168.64.100" && output.addresses["web-1"] == "192.168.64.111" && output.addresses.mongo == "192.168.64.210"
    error_message = jsonencode(output.addresses)
  }
  assert {
    condition     = !strcontains(jsonencode([for name, data in output.user_data : replace(data, "/# .*/", "")]), "10.0.0.")
    error_message = "an address of the reference plant is left in what cloud-init is told"
  }
  assert {
    condition     = local.place.prefix_length == "22" && local.place.gateway == "192.168.67.254" && local.place.dns_servers == tolist(["192.168.67.254"])
    error_message = "prefix, gateway or name server are wrong"
  }
  assert {
    condition     = strcontains(output.user_data.redis, "tcp dport 22 ip saddr { 172.16.5.0/24 }")
    error_message = "SSH is not open for the administrators alone"
  }
}

run "images_of_a_registry" {
  command = plan
  variables {
    sluice_image     = "registry.lan:5000/sluice:1.0"
    redis_image      = "registry.lan:5000/sluice-redis:1.0"
    proxmox_firewall = false
    limit            = "100/1m"
  }

  assert {
    condition     = strcontains(output.user_data["web-1"], "SLUICE_IMAGE=registry.lan:5000/sluice:1.0\n") && strcontains(output.user_data["web-1"], "target=\n")
    error_message = "the web servers do not take the image of the registry"
  }
  assert {
    condition     = strcontains(output.user_data.redis, "SLUICE_REDIS_IMAGE=registry.lan:5000/sluice-redis:1.0\n")
    error_message = "Redis does not take the image of the registry"
  }
  assert {
    condition     = strcontains(output.user_data["web-1"], "limit: 100\n") && strcontains(output.user_data["web-1"], "window: 1m\n")
    error_message = "the limit is not taken over"
  }
}

run "larger_machines" {
  command = plan
  variables {
    sizes     = { postgres = { memory_mb = 8192 }, redis = { memory_mb = 4096, data_gb = 20 }, web = { cores = 8 } }
    web_count = 6
  }

  assert {
    condition     = strcontains(output.user_data.postgres, "shared_buffers = 2048MB") && strcontains(output.user_data.postgres, "max_connections = 128\n")
    error_message = "PostgreSQL is not tuned to its memory and the web servers' threads"
  }
  assert {
    condition     = strcontains(output.user_data.redis, "maxmemory 1638mb")
    error_message = "Redis is not tuned to its memory"
  }
}
