# SPDX-License-Identifier: Apache-2.0
# What this needs. `ephemeral` variables (passwords that never enter plan or state) are in OpenTofu since 1.11, in
# Terraform since 1.10, and nothing here is for one of the two alone. The provider is pinned here and, by checksum, in .terraform.lock.hcl: see docs/decisions/0040.

terraform {
  required_version = ">= 1.11.0"
  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "0.116.0"
    }
  }
}

# The token comes from the environment (PROXMOX_VE_API_TOKEN), so that it is neither in a file here nor in the state.
# SSH to the node is needed for one thing: Proxmox's API cannot write the cloud-init files (snippets).
provider "proxmox" {
  endpoint = var.proxmox_endpoint
  insecure = var.proxmox_insecure

  ssh {
    agent    = true
    username = var.node_ssh_user
  }
}
