// Says of which receipts the client takes which.
import { Countersign, newSession } from "countersign"

const { COUNTERSIGN_URL: url, COUNTERSIGN_KEY: apiKey, COUNTERSIGN_INTEGRATION: integration } = process.env
const { SESSION: session, RECEIPT: receipt } = process.env
const own = { url, apiKey, integration }
const forged = `${receipt.slice(0, receipt.lastIndexOf("."))}.${"A".repeat(86)}`
const cases = {
	own: [own, receipt, session],
	session: [own, receipt, newSession()],
	integration: [{ ...own, integration: "int_other" }, receipt, session],
	server: [{ ...own, publicUrl: "https://mfa.example.com" }, receipt, session],
	forged: [own, forged, session],
}
const said = []
for (const [name, [options, token, of]] of Object.entries(cases)) {
	const code = await new Countersign(options).verify(token, of).then(
		() => "ok",
		(error) => (error.code === "receipt_invalid" ? "refused" : String(error)),
	)
	said.push(`${name} ${code}`)
}
console.log(said.join(", "))
