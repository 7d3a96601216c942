#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes provider/schema.json: the schema of the provider bpg/proxmox, as far as deploy/terraform uses it.

usage: schema_from_types.py FOLDER > provider/schema.json

FOLDER is the unpacked npm package @muhlba91/pulumi-proxmoxve. Its type declarations are generated from the schema that the
provider itself announces; this turns the names and types back into those of the provider. Lists are named in the plural
there: PLURAL names those that are not in the provider. What the declarations do not carry (allowed values, what may not
stand together) is not in the schema either.
"""
import json
import os
import re
import sys

# Resource of the provider -> file and class of the package.
RESOURCES = {
    "proxmox_virtual_environment_vm": ("vmLegacy.d.ts", "VmLegacy"),
    "proxmox_virtual_environment_container": ("containerLegacy.d.ts", "ContainerLegacy"),
    "proxmox_virtual_environment_file": ("fileLegacy.d.ts", "FileLegacy"),
    "proxmox_virtual_environment_firewall_options": ("firewall/optionsLegacy.d.ts", "OptionsLegacy"),
    "proxmox_virtual_environment_firewall_rules": ("firewall/rulesLegacy.d.ts", "RulesLegacy"),
}
PLURAL = {
    "bootOrders": "boot_order", "devicePassthroughs": "device_passthrough", "disks": "disk", "hostpcis": "hostpci",
    "idmaps": "idmap", "ipConfigs": "ip_config", "mountPoints": "mount_point", "mounts": "mount",
    "networkDevices": "network_device", "networkInterfaces": "network_interface", "nodes": "node", "numas": "numa",
    "rngs": "rng", "rules": "rule", "serialDevices": "serial_device", "usbs": "usb", "virtiofs": "virtiofs",
}
SCALARS = {"string": "string", "number": "number", "boolean": "bool"}


def without_comments(text):
    return re.sub(r"/\*\*.*?\*/", "", text, flags=re.DOTALL)


def interfaces(text):
    """Name -> [(field, optional, type)] of all interfaces; a namespace stands before the name: firewall.RulesLegacyRule."""
    found, namespace = {}, ""
    pattern = r"namespace (\w+) \{|interface (\w+) \{(.*?)\n\s*\}\n"
    for match in re.finditer(pattern, without_comments(text), re.DOTALL):
        if match.group(1):
            namespace = match.group(1) + "."
            continue
        body = re.sub(r"\{\s*\[key: string\]: pulumi\.Input<string>;\s*\}", "MAP", match.group(3))
        found[namespace + match.group(2)] = re.findall(r"^\s*(?:readonly )?(\w+)(\??): (.*);$", body, re.MULTILINE)
    return found


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", lambda match: "_" + match.group(1).lower(), name)


def block(name, known):
    made = {"attributes": {}, "blocks": {}}
    for field, optional, kind in known[name]:
        kind = kind.replace(" | undefined", "")
        required, lists = not optional, 0
        while kind.startswith("pulumi.Input<") or kind.endswith("[]"):
            lists += kind.endswith("[]")
            kind = kind[:-2] if kind.endswith("[]") else kind[len("pulumi.Input<"):-1]
        many = lists > 0
        called = PLURAL.get(field, snake(field)) if many else snake(field)
        if kind.startswith("inputs."):
            nested = block(kind.removeprefix("inputs."), known)
            made["blocks"][called] = {"nesting": "list" if many else "single", **nested}
        elif kind == "MAP":
            made["attributes"][called] = {"type": "map-string", "required": required}
        else:
            made["attributes"][called] = {"type": "list-" * lists + SCALARS[kind], "required": required}
    return made


def resource(folder, path, class_name, nested):
    with open(os.path.join(folder, path), encoding="utf-8") as file:
        own = interfaces(file.read())
    known = {**nested, **own}
    made = block(class_name + "Args", known)
    made["attributes"]["id"] = {"type": "string", "required": False, "computed": True}
    # What only the state has, the provider finds out by itself.
    settable = {field for field, _, _ in own[class_name + "Args"]}
    rest = [field for field in own[class_name + "State"] if field[0] not in settable]
    for name, attribute in block("rest", {**known, "rest": rest})["attributes"].items():
        made["attributes"][name] = {"type": attribute["type"], "required": False, "computed": True}
    return made


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: schema_from_types.py FOLDER")
    folder = sys.argv[1]
    with open(os.path.join(folder, "types", "input.d.ts"), encoding="utf-8") as file:
        nested = interfaces(file.read())
    with open(os.path.join(folder, "provider.d.ts"), encoding="utf-8") as file:
        provider = block("ProviderArgs", {**nested, **interfaces(file.read())})
    made = {"provider": provider, "resources": {
        name: resource(folder, path, class_name, nested) for name, (path, class_name) in RESOURCES.items()}}
    json.dump(made, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
