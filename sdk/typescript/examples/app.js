import { createServer } from "node:http"
import { text } from "node:stream/consumers"
import { Countersign, NotApproved, newSession } from "countersign"

const { COUNTERSIGN_URL: url, COUNTERSIGN_KEY: apiKey, COUNTERSIGN_INTEGRATION: integration, PORT } = process.env
const mfa = new Countersign({ url, apiKey, integration })
const signIns = new Map() // by browser

createServer(async (request, response) => {
	const form = new URLSearchParams(await text(request))
	const browser = /browser=([\w-]+)/.exec(request.headers.cookie)?.[1]
	try {
		if (request.url === "/login" && form.get("password") === "correct horse") { // your own check
			const [browser, session] = [newSession(), newSession()]
			const challenge = await mfa.start(form.get("user"), session, { firstFactor: "password" })
			signIns.set(browser, { id: challenge.id, session })
			response.setHeader("set-cookie", `browser=${browser}; HttpOnly; SameSite=Strict`)
			response.end(`<meta http-equiv="refresh" content="0;url=/finish">Type <output>${challenge.number}</output>`)
		} else if (request.url === "/finish" && signIns.has(browser)) {
			const { id, session } = signIns.get(browser)
			const { claims } = await mfa.wait(id, session)
			response.end(`Hello ${claims.name}`)
		} else response.writeHead(403).end("Wrong name or password")
	} catch (error) {
		response.writeHead(error instanceof NotApproved ? 403 : 500).end(`Not signed in: ${error.state ?? error.code}`)
	}
}).listen(PORT, "127.0.0.1", function () { console.log(`listening on ${this.address().port}`) })
