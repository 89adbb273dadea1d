// The rater's desk: the task in hand, those fetched ahead, what was judged, and drafts. All of it
// is on this computer's disk as well, so that a reload goes on where it was.

import { Refused, SignedOut, Unreachable, newKey } from './api.js';

const AHEAD = 5; // tasks held at once; the server leases them
const HISTORY = 20;
const SEND_DRAFT_MS = 2_000;
const KEEP_DRAFT_MS = 100;

export class Desk extends EventTarget {
  /** @param {import('./api.js').Api} api @param {any} local @param {import('./outbox.js').Outbox} outbox */
  constructor(api, local, outbox, round) {
    super();
    this.api = api;
    this.local = local;
    this.outbox = outbox;
    this.round = round;
    this.tasks = []; // [{assignment, round, task, body, until}], the one in hand first
    this.history = []; // oldest first
    this.empty = false; // the server has said that there is nothing more
    this.answered = 0; // when the newest answer to one of the rater's questions was given
    this.practice = null; // {right, of, needed} where the practice is over and was not passed
    this.problem = null;
    this.done = new Set(); // assignments judged or skipped in this page
    this.drafts = new Map();
    window.addEventListener('pagehide', () => this.keepAll());
  }

  get current() {
    return this.tasks[0] ?? null;
  }

  async load() {
    const mine = (rows) => rows.filter((row) => row.round === this.round);
    const held = mine(await this.local.all('held')).sort((x, y) => x.order - y.order);
    const stale = held.filter((row) => row.until < Date.now() && !row.body);
    await this.local.write(stale.map((row) => ['held', 'delete', row.assignment]));
    this.tasks = held.filter((row) => !stale.includes(row));
    this.history = mine(await this.local.all('history')).sort((x, y) => x.at - y.at);
    await this.fill();
  }

  /** Fetches tasks ahead of need. */
  async fill() {
    const n = AHEAD - this.tasks.length;
    if (this.filling || n <= 0) return;
    this.filling = true;
    try {
      const waiting = this.outbox.pending.map((entry) => entry.assignment).filter(Boolean);
      const have = [...new Set([...this.tasks.map((row) => row.assignment), ...waiting])];
      const { tasks, answered, practice } = await this.api.send('POST',
        `/rounds/${this.round}/next`, { have, n });
      this.answered = answered ?? 0;
      this.practice = practice ?? null;
      const fresh = tasks.filter((task) => !have.includes(task.assignment)
        && !this.done.has(task.assignment));
      await this.hold(fresh);
      this.empty = fresh.length === 0;
      this.problem = null;
    } catch (error) {
      this.failed(error);
    } finally {
      this.filling = false;
      this.changed();
    }
  }

  async hold(tasks) {
    if (!tasks.length) return;
    const start = Math.max(Date.now(), ...this.tasks.map((row) => row.order + 1));
    const rows = tasks.map((task, i) => ({ assignment: task.assignment, round: this.round, task,
      body: null, order: start + i, until: Date.now() + task.lease_seconds * 1000 }));
    this.tasks = [...this.tasks, ...rows];
    await this.outbox.write(rows.map((row) => ['held', 'put', row]));
  }

  failed(error) {
    this.problem = error;
    if (error instanceof Unreachable || error instanceof SignedOut) this.outbox.later(error);
    else if (!(error instanceof Refused)) throw error;
  }

  /** What a task begins with: a draft on this computer, its earlier answer, or the server's draft. */
  async beginning(row) {
    const draft = await this.local.one('drafts', row.assignment);
    return draft?.body ?? row.body ?? row.task.draft ?? null;
  }

  /** Judges the task in hand. Resolved when it is on this computer's disk. */
  async judge(body, label, presentation) {
    const row = this.tasks[0];
    const key = newKey();
    const kept = { assignment: row.assignment, round: this.round, task: row.task, body, key,
      at: Date.now() };
    this.history = [...this.history.filter((each) => each.assignment !== row.assignment), kept];
    const old = this.history.splice(0, Math.max(0, this.history.length - HISTORY));
    await this.outbox.add({ key, kind: 'judgment', label, round: this.round,
      assignment: row.assignment, path: `/assignments/${row.assignment}/judgment`,
      body: { key, body, presentation } }, [
      ...this.drop(row),
      ['history', 'put', kept],
      ...old.map((each) => ['history', 'delete', each.assignment]),
    ]);
    this.next(row);
  }

  async skip(reason) {
    const row = this.tasks[0];
    const key = newKey();
    await this.outbox.add({ key, kind: 'skip', label: `Skipped: ${reason}`,
      round: this.round, assignment: row.assignment, path: `/assignments/${row.assignment}/skip`,
      body: { key, reason } }, [['held', 'delete', row.assignment]]);
    this.next(row);
    if (reason === 'later') this.done.delete(row.assignment);
  }

  async ask(text) {
    const { assignment } = this.tasks[0];
    const key = newKey();
    await this.outbox.add({ key, kind: 'question', label: 'A question to the researchers',
      round: this.round, path: `/assignments/${assignment}/question`, body: { key, text } });
  }

  /**
   * Takes the last answer back and puts its task in hand again, with what was said. One that has
   * not left yet never leaves; else the server is told, in its turn.
   * @returns {Promise<boolean>} false where there is nothing to go back to
   */
  async undo() {
    const last = this.history.pop();
    if (!last) return false;
    const order = (this.tasks[0]?.order ?? Date.now()) - 1;
    const row = { assignment: last.assignment, round: this.round, task: last.task, body: last.body,
      order, until: Date.now() + last.task.lease_seconds * 1000 };
    const changes = [['history', 'delete', last.assignment], ['held', 'put', row]];
    this.done.delete(last.assignment);
    this.tasks = [row, ...this.tasks];
    if (!(await this.outbox.withdraw(last.key, changes))) {
      const key = newKey();
      const { sent } = await this.outbox.add({ key, kind: 'undo', label: 'Take the last answer back',
        round: this.round, assignment: last.assignment, path: '/undo',
        body: { key, assignment: last.assignment } }, changes);
      sent.catch(() => this.letGo(row));
    }
    this.changed();
    return true;
  }

  /** The server would not open it again: the earlier answer stands. */
  async letGo(row) {
    if (!this.tasks.includes(row)) return;
    await this.outbox.write([['held', 'delete', row.assignment]]);
    this.tasks = this.tasks.filter((each) => each !== row);
    this.changed();
  }

  drop(row) {
    this.forgetDraft(row.assignment);
    return [['held', 'delete', row.assignment], ['drafts', 'delete', row.assignment]];
  }

  next(row) {
    this.done.add(row.assignment);
    this.tasks = this.tasks.filter((each) => each !== row);
    this.changed();
    void this.fill();
  }

  // Drafts: on this computer a moment after each change, on the server every two seconds.

  draft(body) {
    const { assignment } = this.tasks[0];
    let draft = this.drafts.get(assignment);
    if (!draft) this.drafts.set(assignment, draft = { assignment });
    draft.body = body;
    draft.keep ??= setTimeout(() => this.keepDraft(draft), KEEP_DRAFT_MS);
    draft.send ??= setTimeout(() => this.sendDraft(draft), SEND_DRAFT_MS);
  }

  async keepDraft(draft) {
    draft.keep = null;
    await this.outbox.write([['drafts', 'put',
      { id: draft.assignment, round: this.round, body: draft.body, at: Date.now() }]]);
    this.saved('local');
  }

  /** The page goes: what was typed in the last moment is written down as well. */
  keepAll() {
    for (const draft of this.drafts.values()) {
      if (draft.keep) {
        clearTimeout(draft.keep);
        void this.keepDraft(draft);
      }
    }
  }

  async sendDraft(draft) {
    draft.send = null;
    try {
      await this.api.send('PUT', `/assignments/${draft.assignment}/draft`, { body: draft.body });
      this.saved('server');
    } catch (error) {
      if (error instanceof Refused) return; // judged meanwhile: nothing to keep
      this.failed(error);
      if (this.drafts.has(draft.assignment)) {
        draft.send ??= setTimeout(() => this.sendDraft(draft), 5 * SEND_DRAFT_MS);
      }
    }
  }

  forgetDraft(assignment) {
    const draft = this.drafts.get(assignment);
    clearTimeout(draft?.keep);
    clearTimeout(draft?.send);
    this.drafts.delete(assignment);
  }

  saved(where) {
    this.dispatchEvent(new CustomEvent('draft-saved', { detail: where }));
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}
