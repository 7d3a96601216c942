# SPDX-License-Identifier: Apache-2.0

variable "place" {
  type = object({
    node             = string
    template_vm_id   = number
    storage          = string
    snippet_storage  = string
    bridge           = string
    vlan             = number
    prefix_length    = number
    gateway          = string
    dns_servers      = list(string)
    ssh_user         = string
    host_keys        = map(string)
    proxmox_firewall = bool
  })
  description = "What is the same for all VMs: where they are made, and the network."
}

variable "name" {
  type        = string
  description = "Name of the VM and its host name."
}

variable "vm_id" {
  type        = number
  description = "Identifier of the VM."
}

variable "address" {
  type        = string
  description = "IPv4 address."
}

variable "size" {
  type        = object({ cores = number, memory_mb = number, disk_gb = number, data_gb = optional(number, 0) })
  description = "Processors, memory, disk; data_gb above 0 adds a second disk for data (/dev/disk/by-id/virtio-sluice-data)."
}

variable "openings" {
  type        = list(object({ comment = string, port = number, sources = list(string) }))
  description = "Who may reach which TCP port."
}

variable "user_data" {
  type        = string
  description = "What cloud-init is told. Without secrets: it is kept in the state and on the node."
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

variable "source_ref" {
  type        = string
  default     = ""
  description = "Commit of the source to bring for a build on the machine; empty for none."
}

variable "after" {
  type        = list(string)
  default     = []
  description = "`ready` of machines that must run before this one's service is brought up."
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
