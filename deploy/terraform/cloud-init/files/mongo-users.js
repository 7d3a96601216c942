// SPDX-License-Identifier: Apache-2.0
// The users of MongoDB, for mongosh: `operator`, who may make users and whose password this machine made itself and tells
// nobody, and `sluice` with the password that was delivered. Run again it changes nothing, unless a password has.
// Passwords are read from their files here: in an argument, on standard input and in mongosh's log they could be found.
const { readFileSync } = require("fs")

const secret = (name) => readFileSync(`/etc/sluice/secrets/${name}`, "utf8").trim()
const stranger = () => new Mongo("mongodb://127.0.0.1:27017").getDB("admin")

// The database as this user sees it, or null where the password is another one. A connection for each try.
function as(user, password) {
	const admin = stranger()
	try {
		return admin.auth(user, password).ok === 1 ? admin : null
	} catch (error) {
		return null
	}
}

function setPassword(password) {
	let operator = as("operator", secret("mongo_operator"))
	if (operator === null) {
		// Allowed to a stranger only as long as there is no user at all, and only from this machine.
		stranger().createUser({ user: "operator", pwd: secret("mongo_operator"), roles: ["userAdminAnyDatabase"] })
		operator = as("operator", secret("mongo_operator"))
	}
	const wanted = { pwd: password, roles: [{ role: "readWrite", db: "urldb" }] }
	if (operator.getUser("sluice") === null) {
		operator.createUser({ user: "sluice", ...wanted })
	} else {
		operator.updateUser("sluice", wanted)
	}
}

if (as("sluice", secret("mongo_password")) === null) {
	setPassword(secret("mongo_password"))
	print("the password is another one")
} else {
	print("the password is set")
}
