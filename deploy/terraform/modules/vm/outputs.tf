# SPDX-License-Identifier: Apache-2.0

output "id" {
  value       = proxmox_virtual_environment_vm.this.vm_id
  description = "Identifier of the VM."
}

output "ready" {
  value       = module.deliver.ready
  description = "Known when its service runs; for `after` of others."
}
