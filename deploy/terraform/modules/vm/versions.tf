# SPDX-License-Identifier: Apache-2.0

terraform {
  required_providers {
    proxmox = {
      source = "bpg/proxmox"
    }
  }
}
