# SPDX-License-Identifier: Apache-2.0
# One machine's rules in Proxmox's firewall: the openings, and nothing else comes in. Either vm_id or container_id.

variable "node" {
  type        = string
  description = "Node of the machine."
}

variable "vm_id" {
  type        = number
  default     = null
  description = "The VM, or null."
}

variable "container_id" {
  type        = number
  default     = null
  description = "The container, or null."
}

variable "openings" {
  type        = list(object({ comment = string, port = number, sources = list(string) }))
  description = "Who may reach which TCP port."
}

resource "proxmox_virtual_environment_firewall_options" "this" {
  node_name     = var.node
  vm_id         = var.vm_id
  container_id  = var.container_id
  enabled       = true
  input_policy  = "DROP"
  output_policy = "ACCEPT"
}

resource "proxmox_virtual_environment_firewall_rules" "this" {
  node_name    = var.node
  vm_id        = var.vm_id
  container_id = var.container_id

  dynamic "rule" {
    for_each = var.openings
    content {
      type    = "in"
      action  = "ACCEPT"
      comment = rule.value.comment
      proto   = "tcp"
      dport   = tostring(rule.value.port)
      source  = join(",", rule.value.sources)
    }
  }

  rule {
    type    = "in"
    action  = "ACCEPT"
    comment = "ping"
    macro   = "Ping"
  }
}
