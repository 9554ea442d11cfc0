// Asks the dashboard's server, and nobody else. Who is no longer logged in is led to the login.

let secret = "";

export class Failed extends Error {
  constructor(said, status) {
    super([said.error, said.cure].filter(Boolean).join(" "));
    this.code = said.code ?? "";
    this.status = status;
  }
}

async function answerOf(response) {
  const said = await response.json().catch(() => ({ error: `The dashboard answered ${response.status}.` }));
  if (response.status === 401 && (said.code === "NO_SESSION" || said.code.startsWith("TOKEN_"))) toLogin();
  if (!response.ok) throw new Failed(said, response.status);
  return said;
}

export function toLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
}

/** Ask for something. */
export async function get(path) {
  return answerOf(await fetch(path, { headers: { Accept: "application/json" } }));
}

/** Have something done; returns what is said of it. */
export async function act(name, given = {}) {
  return post(`/api/actions/${name}`, given);
}

export async function post(path, given = {}) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": secret };
  return answerOf(await fetch(path, { method: "POST", headers, body: JSON.stringify(given) }));
}

/** Who we are and what we may. */
export async function me() {
  const said = await get("/api/me");
  secret = said.csrf;
  return said;
}
