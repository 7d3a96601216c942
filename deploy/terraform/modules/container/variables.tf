# SPDX-License-Identifier: Apache-2.0

variable "place" {
  type = object({
    node               = string
    container_template = string
    storage            = string
    bridge             = string
    vlan               = number
    prefix_length      = number
    gateway            = string
    dns_servers        = list(string)
    ssh_keys           = list(string)
    host_keys          = map(string)
    proxmox_firewall   = bool
  })
  description = "What is the same for all containers: where they are made, and the network."
}

variable "name" {
  type        = string
  description = "Host name."
}

variable "vm_id" {
  type        = number
  description = "Identifier of the container."
}

variable "address" {
  type        = string
  description = "IPv4 address."
}

variable "size" {
  type        = object({ cores = number, memory_mb = number, disk_gb = number, data_gb = number })
  description = "Processors, memory, disk, and the volume for data."
}

variable "data_path" {
  type        = string
  description = "Where the volume for data is mounted."
}

variable "openings" {
  type        = list(object({ comment = string, port = number, sources = list(string) }))
  description = "Who may reach which TCP port."
}

variable "user_data" {
  type        = string
  description = "What cloud-init is told. Without secrets."
}

variable "secrets" {
  type        = map(string)
  ephemeral   = true
  default     = {}
  description = "File name below /etc/sluice/secrets => its one line."
}

variable "secrets_revision" {
  type        = number
  default     = 1
  description = "Another number delivers the secrets again."
}

variable "protect" {
  type        = bool
  default     = false
  description = "Let Proxmox refuse to remove it."
}

variable "startup_order" {
  type        = number
  description = "Order in which Proxmox starts machines after it was off itself."
}
