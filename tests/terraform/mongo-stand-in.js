// SPDX-License-Identifier: Apache-2.0
// Runs a script for mongosh against a stand-in of MongoDB, which has no package here: users, their roles, and who may
// change them, as MongoDB documents it (the localhost exception: as long as there is no user at all, a stranger may make
// one). It refuses roles that MongoDB does not have. Users are kept in a file, so that the next run finds them.
// Leaves out: everything else; what the script calls beyond this fails.
//
// usage: node mongo-stand-in.js SCRIPT FOLDER     (FOLDER: the secrets, and users.json)
"use strict"
const fs = require("fs")
const path = require("path")
const vm = require("vm")

const [script, folder] = process.argv.slice(2)
const kept = path.join(folder, "users.json")
const users = fs.existsSync(kept) ? JSON.parse(fs.readFileSync(kept, "utf8")) : {}
const BUILT_IN = ["read", "readWrite", "dbAdmin", "dbOwner", "userAdmin", "readAnyDatabase", "readWriteAnyDatabase",
	"userAdminAnyDatabase", "dbAdminAnyDatabase", "clusterAdmin", "clusterMonitor", "backup", "restore", "root"]

class Connection {
	who = null

	getDB(name) {
		if (name !== "admin") throw new Error(`not a database of users here: ${name}`)
		return this
	}

	#change(name, wanted, exists) {
		const first = Object.keys(users).length === 0 && !exists
		const may = this.who !== null && users[this.who].roles.some((role) => ["userAdminAnyDatabase", "root"].includes(role.role ?? role))
		if (!first && !may) throw new Error(`MongoServerError[Unauthorized]: ${this.who ?? "a stranger"} may not change users`)
		if ((name in users) !== exists) throw new Error(`MongoServerError: ${name} is ${exists ? "not " : ""}there`)
		for (const role of wanted.roles)
			if (!BUILT_IN.includes(role.role ?? role)) throw new Error(`MongoServerError[RoleNotFound]: Could not find role: ${role.role ?? role}`)
		users[name] = { pwd: wanted.pwd, roles: wanted.roles }
		fs.writeFileSync(kept, JSON.stringify(users))
	}

	createUser({ user, ...wanted }) {
		this.#change(user, wanted, false)
	}

	updateUser(user, wanted) {
		this.#change(user, wanted, true)
	}

	getUser(user) {
		if (this.who === null) throw new Error("MongoServerError[Unauthorized]: a stranger may not see users")
		return user in users ? { user, roles: users[user].roles } : null
	}

	auth(user, password) {
		if (users[user]?.pwd !== password) throw new Error("MongoServerError[AuthenticationFailed]: Authentication failed.")
		this.who = user
		return { ok: 1 }
	}
}

const text = fs.readFileSync(script, "utf8").replaceAll("/etc/sluice/secrets", folder)
vm.runInNewContext(text, { require, print: console.log, Mongo: Connection }, { filename: script })
