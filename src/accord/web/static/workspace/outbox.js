// Everything a rater sends waits here first, on disk, under a key that the server knows again. It
// is sent in order, tried again for as long as it takes, and removed only when the server has said
// that it is saved. A request that was sent twice is saved once, because its key is the same.

import { Refused, SignedOut, Unreachable } from './api.js';

const FIRST_WAIT_MS = 1_000;
const LAST_WAIT_MS = 30_000;

/**
 * @typedef {object} Entry
 * @property {string} key idempotency key
 * @property {number} order place in the line; later is greater
 * @property {string} kind judgment | skip | undo | question | message | choice
 * @property {string} label what it is, for the rater
 * @property {string} path
 * @property {object} body
 * @property {string} [assignment]
 * @property {{what: string, how: string}} [refused]
 */

export class Outbox extends EventTarget {
  /** @param {import('./api.js').Api} api @param {any} local */
  constructor(api, local) {
    super();
    this.api = api;
    this.local = local;
    /** @type {Entry[]} */
    this.entries = [];
    this.waiting = new Map(); // key -> {resolve, reject} of whoever added it in this page
    this.writing = new Set(); // keys on their way to the disk
    this.sending = ''; // key on its way to the server
    this.link = 'online'; // online | offline | signed-out
    this.wait = FIRST_WAIT_MS;
    this.timer = 0;
    window.addEventListener('online', () => this.hurry());
    window.addEventListener('offline', () => this.lost());
    document.addEventListener('visibilitychange', () => !document.hidden && this.hurry());
  }

  /** What is still here from before a reload or a crash. */
  async load() {
    this.entries = await this.read();
    this.changed();
    void this.flush();
  }

  get pending() {
    return this.entries.filter((entry) => !entry.refused);
  }

  get refused() {
    return this.entries.filter((entry) => entry.refused);
  }

  /**
   * Writes an entry down (with what else must change at once), then sends it when it can.
   * @param {Omit<Entry, 'order'>} entry @param {import('./local.js').Change[]} [also]
   * @returns {Promise<{sent: Promise<any>}>} resolved when it is written down here
   */
  async add(entry, also = []) {
    const last = this.entries.length ? this.entries[this.entries.length - 1].order : 0;
    const full = { ...entry, order: Math.max(Date.now(), last + 1) };
    this.entries = [...this.entries, full];
    const sent = new Promise((resolve, reject) => this.waiting.set(full.key, { resolve, reject }));
    sent.catch(() => {}); // whoever cares awaits it; a refusal is also kept and shown
    this.writing.add(full.key);
    this.changed(); // from here on it is not "all saved"
    await this.write([['queue', 'put', full], ...also]);
    this.writing.delete(full.key);
    this.changed();
    void this.flush();
    return { sent };
  }

  /** Takes back an entry that has not left yet. False when it is too late for that. */
  async withdraw(key, also = []) {
    const entry = this.entries.find((each) => each.key === key);
    if (!entry || this.sending === key || entry.tried) return false;
    this.entries = this.entries.filter((each) => each !== entry);
    await this.write([['queue', 'delete', key], ...also]);
    this.waiting.delete(key);
    this.changed();
    return true;
  }

  /** The rater has read that this was refused, and lets it go. */
  async dismiss(key) {
    this.entries = this.entries.filter((each) => each.key !== key);
    await this.write([['queue', 'delete', key]]);
    this.changed();
  }

  hurry() {
    this.wait = FIRST_WAIT_MS;
    void this.flush();
  }

  /** Sends what waits; one tab at a time where the browser can lock. */
  async flush() {
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = true;
    clearTimeout(this.timer);
    try {
      do {
        this.again = false;
        if (navigator.locks) await navigator.locks.request('accord-outbox', () => this.drain());
        else await this.drain();
      } while (this.again);
    } finally {
      this.running = false;
    }
  }

  async drain() {
    if (this.local.keeps) this.entries = await this.read(); // another tab may have sent some
    for (let entry = this.pending[0]; entry; entry = this.pending[0]) {
      if (!(await this.deliver(entry))) return;
    }
    if (this.link === 'online') return;
    try {
      await this.api.me(); // nothing to send: ask whether the way is open again
      this.reached();
    } catch (error) {
      this.later(error);
    }
  }

  /** True when the next one may go. */
  async deliver(entry) {
    this.sending = entry.key;
    this.changed();
    try {
      entry.tried = true; // from here on the server may have it
      const reply = await this.api.send('POST', entry.path, entry.body);
      await this.settle(entry, null);
      this.waiting.get(entry.key)?.resolve(reply);
      this.dispatchEvent(new CustomEvent('sent', { detail: { entry, reply } }));
      this.reached();
      return true;
    } catch (error) {
      return await this.failed(entry, error);
    } finally {
      this.sending = '';
      this.changed();
    }
  }

  async failed(entry, error) {
    if (error instanceof Refused && error.status === 403 && !entry.renewed) {
      entry.renewed = true; // the token may be older than the session
      await this.api.me().catch(() => {});
      return true;
    }
    if (error instanceof Refused) {
      await this.settle(entry, { what: error.what, how: error.how });
      this.waiting.get(entry.key)?.reject(error);
      this.dispatchEvent(new CustomEvent('refused', { detail: { entry, error } }));
      return true;
    }
    this.later(error);
    return false;
  }

  /** Waits, longer each time, and tries again. */
  later(error) {
    if (error instanceof SignedOut || error instanceof Refused) this.setLink('signed-out');
    else if (error instanceof Unreachable) this.setLink('offline');
    else throw error;
    const asked = error.retryAfter ? error.retryAfter * 1000 : 0;
    const wait = Math.max(asked, this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(LAST_WAIT_MS, this.wait * 2);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), wait);
  }

  async settle(entry, refused) {
    if (refused) {
      entry.refused = refused;
      this.entries = [...this.entries];
      await this.write([['queue', 'put', entry]]);
    } else {
      this.entries = this.entries.filter((each) => each.key !== entry.key);
      await this.write([['queue', 'delete', entry.key]]);
    }
  }

  /** A full or closed disk stops no one: memory and the network must do, and the page says so. */
  async write(changes) {
    try {
      await this.local.write(changes);
    } catch {
      this.local.keeps = false;
    }
  }

  /** The line on disk. What this page did not add itself may have left already. */
  async read() {
    const fresh = new Set(this.entries.filter((each) => !each.tried).map((each) => each.key));
    const rows = await this.local.all('queue');
    for (const row of rows) row.tried = !fresh.has(row.key);
    const known = new Set(rows.map((row) => row.key));
    const written = this.entries.filter((each) => this.writing.has(each.key) && !known.has(each.key));
    return [...rows, ...written].sort((x, y) => x.order - y.order);
  }

  /** The network or the server is gone, seen here or by someone else. */
  lost() {
    this.setLink('offline');
  }

  reached() {
    this.wait = FIRST_WAIT_MS;
    this.setLink('online');
  }

  setLink(link) {
    if (this.link === link) return;
    this.link = link;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}
