# SPDX-License-Identifier: Apache-2.0

output "url" {
  value       = "http://${local.address.lb}/"
  description = "Where the service is."
}

output "addresses" {
  value       = local.address
  description = "The address of each machine."
}

output "ids" {
  value       = local.vm_id
  description = "The identifier of each machine in Proxmox."
}

output "ssh" {
  value = {
    for name, address in local.address : name => "ssh ${contains(["postgres", "mongo"], name) ? "root" : var.ssh_user}@${address}"
  }
  description = "How to log in to each machine."
}

output "load_test" {
  value       = "ssh ${var.ssh_user}@${local.address.load} k6 run -e BASE_URL=http://${local.address.lb} /opt/k6/rate-test.js"
  description = "The command that starts the test of the limit; script.js in its place measures capacity."
}

output "user_data" {
  value       = local.user_data
  description = "What cloud-init is told on each machine. Holds no secret."
}
