/**
 * Ask for a sign-in by number matching, wait for the person, check the receipt.
 *
 *     const mfa = new Countersign({ url, apiKey, integration })
 *     const session = newSession()                 // keep it in the browser's own session
 *     const challenge = await mfa.start("alice", session, { firstFactor: "password" })
 *     show(challenge.number)                       // in that browser, and nowhere else
 *     const approved = await mfa.wait(challenge.id, session)   // throws NotApproved
 *
 * What comes back from `wait` is redeemed and its receipt checked: nothing else is a sign-in.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from "jose"

/** Seconds that the server is asked to wait for a change: below what proxies in between allow. */
const POLL_S = 25
/** Milliseconds before a request is given up: what a poll takes, and a slow connection. */
const TIMEOUT_MS = (POLL_S + 10) * 1000
/** Tries of a request that didn't get through, and milliseconds before the second of them. */
const TRIES = 5
const PAUSE_MS = 500

/** The server refused. `code` is stable (docs/problems.md); `status` is 0 if it wasn't reached. */
export class CountersignError extends Error {
	constructor(
		readonly status: number,
		readonly code: string,
		readonly detail: string,
		readonly requestId?: string,
	) {
		super(`${code}: ${detail}${requestId ? ` (request ${requestId})` : ""}`)
		this.name = "CountersignError"
	}
}

/** How a sign-in ends that isn't approved. */
export type Ended = "denied" | "reported" | "mismatch" | "expired" | "cancelled" | "superseded"
/** Where a challenge stands. */
export type State = "pending" | "approved" | Ended

/** The sign-in ended otherwise; `state` says how. */
export class NotApproved extends Error {
	constructor(readonly state: Ended) {
		super(`the sign-in was not approved: ${state}`)
		this.name = "NotApproved"
	}
}

/** A sign-in under way. `number` is null once it is decided. */
export interface Challenge {
	readonly id: string
	readonly number: string | null
	readonly digits: number
	readonly methods: readonly string[]
	readonly expiresAt: string
}

/** What a receipt says. */
export interface Claims extends JWTPayload {
	sub: string
	name: string
	challenge: string
	purpose: string
	acr: string
	amr: string[]
	auth_time: number
	bsh: string
	phishing_resistant: boolean
}

/** A sign-in that was redeemed. Keep `deviceCookie` in the browser for 180 days and send it next time. */
export interface Approved {
	readonly claims: Claims
	readonly receipt: string
	readonly deviceCookie: string
}

/** What a sign-in is asked for with. */
export interface Start {
	/** What was checked just now, such as "password": without it nothing rings. */
	firstFactor?: string
	ip?: string
	userAgent?: string
	deviceCookie?: string
	purpose?: string
	methods?: string[]
	/** Seconds, 30 to 300. */
	ttlS?: number
	/** Lines that the device shows as what you say, by label. */
	details?: Record<string, string>
}

/** Where the server is, and who asks. */
export interface Options {
	url: string
	apiKey: string
	/** The id (`int_..`) that `integration create` printed: receipts for others are refused. */
	integration: string
	/** The server's own URL, if `url` is another way to it. */
	publicUrl?: string
}

/** A browser session to bind a sign-in to: 256 random bits. */
export const newSession = (): string => randomBytes(32).toString("base64url")

const bare = (url: string) => url.replace(/\/+$/, "")
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** One integration's way to a server. */
export class Countersign {
	readonly #url: string
	readonly #issuer: string
	readonly #integration: string
	readonly #authorization: string
	readonly #keys: ReturnType<typeof createRemoteJWKSet>

	constructor(options: Options) {
		this.#url = bare(options.url)
		this.#issuer = `${bare(options.publicUrl ?? options.url)}/receipt`
		this.#integration = options.integration
		this.#authorization = `Bearer ${options.apiKey}`
		this.#keys = createRemoteJWKSet(new URL(`${this.#url}/.well-known/jwks.json`))
	}

	/** Asks for a sign-in of a user, by name or by id (`usr_..`). Asked again for the same session it is the same challenge. */
	async start(user: string, session: string, more: Start = {}): Promise<Challenge> {
		const { firstFactor, ip, userAgent, deviceCookie, purpose, methods, ttlS, details } = more
		const body = {
			user: /^(usr_|name:)/.test(user) ? user : `name:${user}`,
			// what is undefined isn't sent
			context: { browser_session: session, ip, user_agent: userAgent, device_cookie: deviceCookie },
			first_factor: firstFactor && { method: firstFactor, at: new Date().toISOString() },
			purpose,
			methods,
			ttl_s: ttlS,
			details: details && Object.entries(details).map(([label, value]) => ({ label, value })),
		}
		// a try that got through although its answer didn't is not asked for twice
		const key = { "Idempotency-Key": newSession() }
		const made = await this.#send("POST", "/v1/challenges", body, key)
		const { id, number, digits, methods: offered, expires_at: expiresAt } = made
		return { id, number: number ?? null, digits, methods: offered, expiresAt }
	}

	/**
	 * Waits until it is decided, redeems it and checks the receipt.
	 *
	 * @throws NotApproved if it ended otherwise, CountersignError if it can't be redeemed (any more).
	 */
	async wait(challenge: string, session: string): Promise<Approved> {
		for (;;) {
			const { state } = await this.#send("GET", `/v1/challenges/${challenge}?wait=${POLL_S}`)
			if (state === "approved") return this.redeem(challenge, session)
			if (state !== "pending") throw new NotApproved(state)
		}
	}

	/** Where it stands now. "approved" is no proof yet: `wait` or `redeem` it. */
	async state(challenge: string): Promise<State> {
		return (await this.#send("GET", `/v1/challenges/${challenge}`)).state
	}

	/** Turns an approval into a receipt, once, within a minute of it. */
	async redeem(challenge: string, session: string): Promise<Approved> {
		const body = { browser_session: session }
		const got = await this.#send("POST", `/v1/challenges/${challenge}/redeem`, body)
		const claims = await this.verify(got.receipt, session)
		if (claims.challenge !== challenge) throw invalid("the receipt is of another challenge")
		return { claims, receipt: got.receipt, deviceCookie: got.device_cookie }
	}

	/** Tries a TOTP or recovery code on it: the state then. A wrong one throws CountersignError `code_wrong`. */
	async code(challenge: string, code: string): Promise<State> {
		return (await this.#send("POST", `/v1/challenges/${challenge}/code`, { code })).state
	}

	/** Ends it: the state then, which may be an earlier decision. */
	async cancel(challenge: string): Promise<State> {
		return (await this.#send("DELETE", `/v1/challenges/${challenge}`)).state
	}

	/** Checks a receipt offline: signature, issuer, audience, time, and that it is this browser session's. */
	async verify(receipt: string, session: string): Promise<Claims> {
		const wanted = {
			algorithms: ["ES256"],
			audience: this.#integration,
			issuer: this.#issuer,
			typ: "countersign-receipt+jwt",
			clockTolerance: 30,
			requiredClaims: ["exp", "iat", "sub", "bsh", "challenge"],
		}
		const { payload } = await jwtVerify<Claims>(receipt, this.#keys, wanted).catch((error: unknown) => {
			if (error instanceof errors.JOSEError) throw invalid(error.message)
			throw new CountersignError(0, "unreachable", String(error))
		})
		const bound = createHash("sha256").update(session).digest()
		const said = Buffer.from(payload.bsh, "base64url")
		if (said.length !== bound.length || !timingSafeEqual(said, bound)) {
			throw invalid("the receipt is another browser session's")
		}
		return payload
	}

	/** Sends what may be sent twice, until it gets through. */
	async #send(method: string, path: string, body?: object, more: Record<string, string> = {}) {
		const headers = { authorization: this.#authorization, "content-type": "application/json", ...more }
		for (let left = TRIES - 1; ; left--) {
			let pause = PAUSE_MS * 2 ** (TRIES - 1 - left)
			try {
				const reply = await fetch(this.#url + path, {
					method,
					headers,
					redirect: "error",
					signal: AbortSignal.timeout(TIMEOUT_MS),
					...(body && { body: JSON.stringify(body) }),
				})
				if (reply.ok) return await reply.json()
				if (![429, 503].includes(reply.status) || left === 0) throw await refusal(reply)
				const after = Number(reply.headers.get("retry-after"))
				if (after > 0) pause = Math.min(after, POLL_S) * 1000
			} catch (error) {
				if (error instanceof CountersignError) throw error
				if (left === 0) throw new CountersignError(0, "unreachable", String(error))
			}
			await sleep(pause * (0.5 + Math.random()))
		}
	}
}

const invalid = (detail: string) => new CountersignError(0, "receipt_invalid", detail)

async function refusal(reply: Response): Promise<CountersignError> {
	const body = await reply.json().catch(() => ({}))
	const detail = body.detail ?? body.title ?? reply.statusText
	return new CountersignError(reply.status, body.code ?? "unexpected", detail, body.request_id)
}
