// SPDX-License-Identifier: Apache-2.0
"use strict";
/* Asks the server without leaving the page. Without JavaScript the form posts, and the browser shows the JSON. */
const form = document.querySelector("form");
const button = form.querySelector("button");
const answer = document.getElementById("answer");

function show(kind, ...parts) {
	answer.className = kind;
	answer.replaceChildren(...parts);
}

function link(path) {
	const a = document.createElement("a");
	a.href = new URL(path, location.href).href;
	a.textContent = a.href;
	return a;
}

function copyButton(text) {
	const copy = document.createElement("button");
	copy.type = "button";
	copy.textContent = "Copy";
	copy.addEventListener("click", async () => {
		await navigator.clipboard.writeText(text);
		copy.textContent = "Copied";
	});
	return copy;
}

async function shorten() {
	const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
	const body = await response.json();
	if (response.ok) {
		const a = link(body.short_url);
		show("", a, " ", ...(navigator.clipboard ? [copyButton(a.href)] : []));
	} else if (response.status === 429) {
		show("error", `Too many requests. Try again in ${response.headers.get("Retry-After")} seconds.`);
	} else {
		show("error", body.error);
	}
}

form.addEventListener("submit", async (event) => {
	event.preventDefault();
	button.disabled = true;
	try {
		await shorten();
	} catch {
		show("error", "The server can't be reached. Try again.");
	}
	button.disabled = false;
});
