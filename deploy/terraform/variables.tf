# SPDX-License-Identifier: Apache-2.0
# Everything that may be set. Required: ssh_keys and the three passwords; the rest has the values of the reference plant.

# --- Proxmox VE ---

variable "proxmox_endpoint" {
  type        = string
  default     = null
  description = "Address of Proxmox VE, such as https://pve.lan:8006/. Null: PROXMOX_VE_ENDPOINT in the environment."

  validation {
    condition     = var.proxmox_endpoint == null || can(regex("^https://[^/ ]+/?$", var.proxmox_endpoint))
    error_message = "proxmox_endpoint is https://HOST:PORT/, without a path."
  }
}

variable "proxmox_insecure" {
  type        = bool
  default     = false
  description = "Accept a certificate of Proxmox VE that nobody vouches for, as a fresh installation has it."
}

variable "node_ssh_user" {
  type        = string
  default     = "root"
  description = "Who the provider logs in to the node as (SSH agent) to write the cloud-init files."

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]*$", var.node_ssh_user))
    error_message = "node_ssh_user is the name of a Unix user."
  }
}

variable "node" {
  type        = string
  default     = "pve"
  description = "Node of Proxmox VE that carries the machines."

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", var.node))
    error_message = "node is the name of a node: letters, digits, and - inside."
  }
}

variable "storage" {
  type        = string
  default     = "local-lvm"
  description = "Storage for the disks."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$", var.storage))
    error_message = "storage is the identifier of a storage of Proxmox VE."
  }
}

variable "snippet_storage" {
  type        = string
  default     = "local"
  description = "Storage for the cloud-init files; its content types must include snippets."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$", var.snippet_storage))
    error_message = "snippet_storage is the identifier of a storage of Proxmox VE."
  }
}

variable "template_vm_id" {
  type        = number
  default     = 9000
  description = "Identifier of the VM template: a Debian 12 cloud image (genericcloud) with a cloud-init drive. The README makes one."

  validation {
    condition     = var.template_vm_id >= 100 && var.template_vm_id <= 999999999 && floor(var.template_vm_id) == var.template_vm_id
    error_message = "template_vm_id is a whole number from 100 to 999999999."
  }
}

variable "container_template" {
  type        = string
  default     = "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"
  description = "Template of the LXC containers, as `pveam list local` names it."

  validation {
    condition     = can(regex("^[^:/ ]+:vztmpl/debian-12-[^/ ]+$", var.container_template))
    error_message = "container_template is STORAGE:vztmpl/debian-12-…: the files in cloud-init/ are written for Debian 12."
  }
}

variable "vm_id_base" {
  type        = number
  default     = 5000
  description = "Identifiers of the machines: this and the last part of the address (lb: 5100, web-1: 5111)."

  validation {
    condition     = var.vm_id_base >= 100 && var.vm_id_base <= 999999000 && floor(var.vm_id_base) == var.vm_id_base
    error_message = "vm_id_base is a whole number from 100 to 999999000."
  }
  validation {
    condition     = !contains([for place in local.all_places : var.vm_id_base + place], var.template_vm_id)
    error_message = "vm_id_base gives a machine the identifier of the template (template_vm_id)."
  }
}

variable "proxmox_firewall" {
  type        = bool
  default     = true
  description = "Give each machine its rules in Proxmox's firewall too. They work once the firewall is on for the datacenter; the machines' own (nftables) always does."
}

# --- network ---

variable "bridge" {
  type        = string
  default     = "vmbr0"
  description = "Bridge that the machines are on."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_.-]{0,14}$", var.bridge))
    error_message = "bridge is the name of a bridge of the node, 15 characters at most."
  }
}

variable "vlan" {
  type        = number
  default     = null
  description = "VLAN tag, or null."

  validation {
    condition     = var.vlan == null ? true : var.vlan >= 1 && var.vlan <= 4094 && floor(var.vlan) == var.vlan
    error_message = "vlan is a whole number from 1 to 4094, or null."
  }
}

variable "network" {
  type        = string
  default     = "10.0.0.0/24"
  description = "Network of the machines. Their places in it are those of the reference plant: lb 100, web 111 and on, redis 130, load 160, postgres 200, mongo 210."

  validation {
    condition = (
      can(regex("^[0-9.]+/[0-9]+$", var.network)) && can(cidrnetmask(var.network))
      ? cidrsubnet(var.network, 0, 0) == var.network && tonumber(split("/", var.network)[1]) >= 8 && tonumber(split("/", var.network)[1]) <= 24
      : false
    )
    error_message = "network is an IPv4 network from /8 to /24, its own address first: 10.0.0.0/24, not 10.0.0.1/24."
  }
}

variable "gateway" {
  type        = string
  default     = null
  description = "Gateway of the network; null for its first address."

  validation {
    condition     = var.gateway == null || can(cidrnetmask("${var.gateway}/32"))
    error_message = "gateway is an IPv4 address, or null."
  }
  validation {
    condition     = try(var.gateway == null || cidrhost("${var.gateway}/${split("/", var.network)[1]}", 0) == cidrhost(var.network, 0), true)
    error_message = "gateway is not in the network: the machines could not reach it."
  }
  validation {
    condition     = try(!contains([for place in local.all_places : cidrhost(var.network, place)], var.gateway), true)
    error_message = "gateway is the address of a machine: lb is at 100, web at 111 and on, redis 130, load 160, postgres 200, mongo 210."
  }
}

variable "dns_servers" {
  type        = list(string)
  default     = []
  description = "Name servers; empty for the gateway."

  validation {
    condition     = alltrue([for server in var.dns_servers : can(cidrnetmask("${server}/32"))])
    error_message = "dns_servers are IPv4 addresses."
  }
}

variable "admin_networks" {
  type        = list(string)
  default     = []
  description = "From where SSH to all machines and /metrics of the web servers are reached. The machine that runs `tofu apply` must be in one. Empty for the machines' own network."

  validation {
    condition     = alltrue([for network in var.admin_networks : can(cidrnetmask(network)) ? cidrsubnet(network, 0, 0) == network : false])
    error_message = "admin_networks are IPv4 networks, their own address first: 192.168.1.0/24, or 192.168.1.7/32 for one machine."
  }
}

variable "public_names" {
  type        = list(string)
  default     = []
  description = "Names under which the service is reached: Sluice refuses links to them. Its address is added."

  validation {
    condition     = length(var.public_names) <= 63 && alltrue([for name in var.public_names : can(regex("^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$", name))])
    error_message = "public_names are HOST or HOST:PORT, 63 at most."
  }
}

# --- machines ---

variable "web_count" {
  type        = number
  default     = 2
  description = "Web servers. nginx's upstream, the firewalls and PostgreSQL's connections follow."

  validation {
    condition     = var.web_count >= 1 && var.web_count <= 19 && floor(var.web_count) == var.web_count
    error_message = "web_count is a whole number from 1 to 19: web-19 has the last address before Redis."
  }
}

variable "sizes" {
  type = object({
    lb       = optional(object({ cores = optional(number, 1), memory_mb = optional(number, 1024), disk_gb = optional(number, 8) }), {})
    web      = optional(object({ cores = optional(number, 2), memory_mb = optional(number, 2048), disk_gb = optional(number, 12) }), {})
    redis    = optional(object({ cores = optional(number, 2), memory_mb = optional(number, 2048), disk_gb = optional(number, 12), data_gb = optional(number, 8) }), {})
    load     = optional(object({ cores = optional(number, 2), memory_mb = optional(number, 2048), disk_gb = optional(number, 8) }), {})
    postgres = optional(object({ cores = optional(number, 2), memory_mb = optional(number, 2048), disk_gb = optional(number, 8), data_gb = optional(number, 16) }), {})
    mongo    = optional(object({ cores = optional(number, 2), memory_mb = optional(number, 2048), disk_gb = optional(number, 8), data_gb = optional(number, 16) }), {})
  })
  default     = {}
  description = "Processors, memory and disks, for those machines and values that differ. Redis and PostgreSQL are tuned to their memory."

  validation {
    condition = alltrue([for size in values(var.sizes) :
      size.cores >= 1 && size.cores <= 128 && size.memory_mb >= 512 && size.disk_gb >= 4 && try(size.data_gb, 1) >= 1
      && alltrue([for figure in values(size) : floor(figure) == figure])
    ])
    error_message = "sizes: whole numbers; cores from 1 to 128, memory_mb from 512, disk_gb from 4 (VMs: no smaller than the template's disk), data_gb from 1."
  }
}

variable "ssh_user" {
  type        = string
  default     = "debian"
  description = "User of the VMs, with sudo. (The containers have root.)"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh_user)) && var.ssh_user != "root"
    error_message = "ssh_user is the name of a Unix user, not root."
  }
}

variable "ssh_keys" {
  type        = list(string)
  description = "Public keys that may log in to the machines. One of them must be in the SSH agent of whoever runs `tofu apply`."

  validation {
    condition     = length(var.ssh_keys) > 0 && alltrue([for key in var.ssh_keys : can(regex("^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp[0-9]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\"\\\\\n]*)?$", key))])
    error_message = "ssh_keys: at least one public key, each a line as in ~/.ssh/id_ed25519.pub."
  }
}

variable "host_keys" {
  type        = map(string)
  default     = {}
  description = "SSH host keys of machines that are up (./host-keys reads them by way of the node): whoever shows another one gets no password. Without an entry any is believed."

  validation {
    condition     = alltrue([for name, key in var.host_keys : contains(keys(local.all_places), name)])
    error_message = "host_keys: ${join(", ", setsubtract(keys(var.host_keys), keys(local.all_places)))} is no machine of this plant."
  }
  validation {
    condition     = alltrue([for key in values(var.host_keys) : can(regex("^ecdsa-sha2-nistp256 [A-Za-z0-9+/=]+$", key))])
    error_message = "host_keys are those of the kind ecdsa-sha2-nistp256, the one that is asked for: the first two words of /etc/ssh/ssh_host_ecdsa_key.pub."
  }
}

variable "protect_data" {
  type        = bool
  default     = true
  description = "Proxmox refuses to remove redis, postgres and mongo, and with them the data. False, and an apply, before `tofu destroy` or a replacement."
}

# --- Sluice ---

variable "sluice_image" {
  type        = string
  default     = ""
  description = "Image of Sluice in a registry. Empty: each web server builds it from the source that `tofu apply` brings."

  validation {
    condition     = var.sluice_image == "" || can(regex("^[a-z0-9][A-Za-z0-9._:/@-]*$", var.sluice_image))
    error_message = "sluice_image is the name of an image, such as registry.lan/sluice:1.0."
  }
}

variable "redis_image" {
  type        = string
  default     = ""
  description = "Image of Redis with the module sluice.so. Empty: the Redis machine builds it from the source that `tofu apply` brings."

  validation {
    condition     = var.redis_image == "" || can(regex("^[a-z0-9][A-Za-z0-9._:/@-]*$", var.redis_image))
    error_message = "redis_image is the name of an image, such as registry.lan/sluice-redis:1.0."
  }
}

variable "source_ref" {
  type        = string
  default     = "HEAD"
  description = "Commit, tag or branch of this repository that images are built from. Another value brings and builds that one."

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.source_ref))
    error_message = "source_ref is a commit, tag or branch."
  }
}

variable "limit" {
  type        = string
  default     = "10/60s"
  description = "Limit for each client, as N/DURATION."

  validation {
    condition     = can(regex("^[1-9][0-9]{0,7}/[1-9][0-9]{0,9}(ms|s|m|h|d)$", var.limit)) ? tonumber(split("/", var.limit)[0]) <= 16777216 : false
    error_message = "limit is N/DURATION, such as 10/60s; N from 1 to 16777216."
  }
}

# --- secrets: ephemeral, so in no plan and no state. From the environment: TF_VAR_redis_password=… ---

variable "redis_password" {
  type        = string
  ephemeral   = true
  sensitive   = true
  description = "Password of Redis."

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{16,128}$", var.redis_password))
    error_message = "redis_password: 16 to 128 letters, digits, - and _ (`openssl rand -hex 24` makes one)."
  }
}

variable "postgres_password" {
  type        = string
  ephemeral   = true
  sensitive   = true
  description = "Password of the user sluice in PostgreSQL."

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{16,128}$", var.postgres_password))
    error_message = "postgres_password: 16 to 128 letters, digits, - and _ (`openssl rand -hex 24` makes one)."
  }
}

variable "mongo_password" {
  type        = string
  ephemeral   = true
  sensitive   = true
  description = "Password of the user sluice in MongoDB."

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{16,128}$", var.mongo_password))
    error_message = "mongo_password: 16 to 128 letters, digits, - and _ (`openssl rand -hex 24` makes one)."
  }
}

variable "secrets_revision" {
  type        = number
  default     = 1
  description = "Raise it when a password has changed: the passwords themselves are not remembered, so a change cannot be seen."

  validation {
    condition     = var.secrets_revision >= 1 && floor(var.secrets_revision) == var.secrets_revision
    error_message = "secrets_revision is a whole number from 1."
  }
}
