// One way to talk to the server. What it throws says whether to try again, sign in, or give up.

const TIMEOUT_MS = 15_000;

/** The network or the server is not there; the same request may be sent again. */
export class Unreachable extends Error {
  /** @param {string} message @param {number} [retryAfter] seconds the server asks to wait */
  constructor(message, retryAfter = 0) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** The session has ended; nothing is lost, but someone must sign in. */
export class SignedOut extends Error {}

/** The server understood and said no; sending it again would not help. */
export class Refused extends Error {
  /** @param {number} status @param {string} what @param {string} how */
  constructor(status, what, how) {
    super(what);
    this.status = status;
    this.what = what;
    this.how = how;
  }
}

/** The rater's side of /api/v1. */
export class Api {
  constructor() {
    this.csrf = '';
  }

  /** Who is signed in, their rounds, and the token that every change carries. */
  async me() {
    const me = await this.send('GET', '/me');
    this.rater ??= me.id;
    if (me.id !== this.rater) throw new SignedOut('Someone else is signed in in this browser.');
    this.csrf = me.csrf ?? '';
    return me;
  }

  /**
   * @param {string} method @param {string} path below /api/v1 @param {unknown} [body]
   * @throws {Unreachable|SignedOut|Refused}
   */
  async send(method, path, body) {
    const headers = { Accept: 'application/json' };
    if (method !== 'GET') headers['X-CSRF-Token'] = this.csrf;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
    try {
      const response = await fetch(`/api/v1${path}`, {
        method, headers, signal: abort.signal, credentials: 'same-origin', cache: 'no-store',
        redirect: 'error', body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (response.ok) return response.status === 204 ? {} : await response.json();
      throw await problem(response);
    } catch (error) {
      if (error instanceof Refused || error instanceof SignedOut) throw error;
      if (error instanceof Unreachable) throw error;
      throw new Unreachable('The server cannot be reached.'); // no network, time-out, cut-off answer
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @param {Response} response */
async function problem(response) {
  const { status } = response;
  if (status === 401) return new SignedOut('Your session has ended.');
  if (status === 429 || status === 408 || status >= 500) {
    const wait = Number(response.headers.get('Retry-After')) || 0;
    return new Unreachable('The server is busy or not well.', wait);
  }
  let what = `The server refused this (${status}).`;
  let how = 'Tell the researchers; your text is still here.';
  try {
    const { error } = await response.json();
    what = error.what ?? what;
    how = error.how ?? '';
  } catch { /* not JSON: the words above stand */ }
  return new Refused(status, what, how);
}

/** An idempotency key; also where the page is not a "secure context" and has no randomUUID. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
