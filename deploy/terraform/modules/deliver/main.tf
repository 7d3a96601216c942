# SPDX-License-Identifier: Apache-2.0
# Brings a machine what cloud-init must not hold: passwords, and the source of an image that is built there. Both go over
# SSH and are in no plan and no state; the machine keeps the passwords in /etc/sluice/secrets (root alone may read).
# Waits until the machine is up and its service runs: an error of the service is an error of `tofu apply`.

variable "name" {
  type        = string
  description = "Name of the machine."
}

variable "machine" {
  type        = string
  description = "Changes when the machine is another one."
}

variable "address" {
  type        = string
  description = "Where it is."
}

variable "user" {
  type        = string
  description = "Who logs in: root, or a user with sudo."
}

variable "host_key" {
  type        = string
  default     = null
  description = "The SSH host key that it must show; null believes any."
}

variable "user_data" {
  type        = string
  description = "What cloud-init was told. A change is taken over in place: files are written anew, the service follows."
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
  description = "Commit, tag or branch of this repository to build from; empty for none."
}

variable "after" {
  type        = list(string)
  default     = []
  description = "`ready` of machines that must run before this one's service is brought up."
}

locals {
  sudo    = var.user == "root" ? "" : "sudo "
  archive = "${path.root}/.source-${var.name}.tar.gz"
}

resource "terraform_data" "source" {
  count            = var.source_ref == "" ? 0 : 1
  triggers_replace = [var.machine, var.source_ref]

  connection {
    type     = "ssh"
    host     = var.address
    user     = var.user
    host_key = var.host_key
    timeout  = "15m"
  }

  provisioner "local-exec" {
    working_dir = "${path.module}/../../../.."
    command     = "git archive --format=tar.gz --output=\"$ARCHIVE\" --add-virtual-file=version:\"$(git describe --tags --always \"$REF\")\" \"$REF\""
    environment = { ARCHIVE = abspath(local.archive), REF = var.source_ref }
  }

  provisioner "file" {
    source      = local.archive
    destination = "/tmp/sluice-source.tar.gz"
  }

  provisioner "remote-exec" {
    inline = ["${local.sudo}install -D -m 0644 /tmp/sluice-source.tar.gz /opt/sluice/source.tar.gz && rm /tmp/sluice-source.tar.gz"]
  }
}

resource "terraform_data" "files" {
  triggers_replace = [var.machine, sha256(var.user_data)]

  connection {
    type     = "ssh"
    host     = var.address
    user     = var.user
    host_key = var.host_key
    timeout  = "15m"
  }

  provisioner "remote-exec" {
    # 2 is "done, with warnings": what is wrong shows when the service is to start
    inline = ["${local.sudo}cloud-init status --wait >/dev/null || test $? -eq 2"]
  }

  provisioner "file" {
    content     = var.user_data
    destination = "/tmp/sluice-user-data.yaml"
  }

  provisioner "remote-exec" {
    inline = ["${local.sudo}/usr/local/sbin/sluice-update /tmp/sluice-user-data.yaml && rm /tmp/sluice-user-data.yaml"]
  }
}

resource "terraform_data" "secrets" {
  triggers_replace = [terraform_data.files.id, var.secrets_revision, one(terraform_data.source[*].id)]
  input            = var.after # to wait for, not to follow

  connection {
    type     = "ssh"
    host     = var.address
    user     = var.user
    host_key = var.host_key
    timeout  = "15m"
  }

  # Into a folder that nobody else can look into, and out of it at once.
  provisioner "remote-exec" {
    inline = ["rm -rf .sluice-deliver && mkdir -m 0700 .sluice-deliver"]
  }

  provisioner "file" {
    content     = join("", [for name, line in var.secrets : "${name} ${line}\n"])
    destination = ".sluice-deliver/secrets"
  }

  provisioner "remote-exec" {
    inline = [
      "trap 'rm -rf .sluice-deliver' EXIT",
      "${local.sudo}/usr/local/sbin/sluice-receive .sluice-deliver/secrets",
    ]
  }

  lifecycle {
    ignore_changes = [input]
  }
}

output "ready" {
  value       = terraform_data.secrets.id
  description = "Known when the service of the machine runs; for `after` of others."
}
