# SPDX-License-Identifier: Apache-2.0

output "id" {
  value       = proxmox_virtual_environment_container.this.vm_id
  description = "Identifier of the container."
}

output "ready" {
  value       = module.deliver.ready
  description = "Known when its service runs; for `after` of others."
}
