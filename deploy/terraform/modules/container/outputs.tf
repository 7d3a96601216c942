# SPDX-License-Identifier: Apache-2.0

output "id" {
  value       = proxmox_virtual_environment_container.this.vm_id
  description = "Identifier of the container."
}
