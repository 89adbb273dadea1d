// <accord-workspace round="..."> : where a rater works. The shell around one task at a time.

import { repeat } from './vendor/lit.js';
import { Part, html, nothing } from './workspace/ui.js';
import { Api, Refused, SignedOut, Unreachable, newKey } from './workspace/api.js';
import { openLocal } from './workspace/local.js';
import { Outbox } from './workspace/outbox.js';
import { Desk } from './workspace/desk.js';
import { Clock, isText } from './workspace/clock.js';
import { KeyMap, nameOf } from './workspace/keys.js';
import { bar, savedText, tools } from './workspace/bar.js';
import { inWords } from './workspace/scale.js';
import { LETTERS } from './workspace/ui.js';
import './workspace/panels.js';
import './workspace/notes.js';
import './workspace/compare.js';
import './workspace/rank.js';
import './workspace/demonstrate.js';
import './workspace/chat.js';

const SETTLE_MS = 150; // a bounced key must not judge a task that nobody has seen
const BREAK_MS = 50 * 60_000;
const START_AGAIN_MS = 3_000;

export class Workspace extends Part {
  static properties = { round: {}, view: { state: true }, said: { state: true },
    panel: { state: true }, dialog: { state: true }, guideline: { state: true },
    answered: { state: true } };

  constructor() {
    super();
    this.view = 'loading'; // loading | guideline | task | chat | done | problem
    this.said = '';
    this.panel = false;
    this.dialog = null;
    this.feedback = [];
    this.answered = false; // the researchers said something that was not read yet
    this.shown = null;
    this.onKey = this.onKey.bind(this);
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener('keydown', this.onKey);
    void this.start();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener('keydown', this.onKey);
  }

  async start() {
    this.api = new Api();
    try {
      this.me = await this.api.me();
    } catch (error) {
      this.stop(error);
      if (error instanceof Unreachable) setTimeout(() => this.start(), START_AGAIN_MS);
      return;
    }
    this.info = this.me.rounds.find((round) => String(round.id) === String(this.round));
    if (!this.info) {
      this.stop(new Refused(404, 'This round is not open for you.', 'Go back to see your rounds.'));
      return;
    }
    this.local = await openLocal(this.me.id ?? this.me.name);
    const outbox = new Outbox(this.api, this.local);
    outbox.addEventListener('change', () => this.requestUpdate());
    outbox.addEventListener('sent', (event) => this.onSent(event.detail));
    outbox.addEventListener('refused', () => this.say('The server did not take an answer. See "not taken" above.'));
    await outbox.load();
    this.outbox = outbox; // not before: until it is read, nobody knows what waits in it
    this.clock = new Clock();
    const { version, acknowledged } = this.info.guideline ?? {};
    this.agreed = acknowledged ? version : 0;
    if (version && !acknowledged) await this.showGuideline(true);
    else await this.work();
  }

  async work() {
    if (this.info.task === 'chat') {
      this.view = 'chat';
      return;
    }
    this.desk = new Desk(this.api, this.local, this.outbox, this.round);
    this.desk.addEventListener('change', () => { this.painted = this.present(); });
    this.desk.addEventListener('change', () => void this.noticeAnswer());
    this.desk.addEventListener('draft-saved', (event) => this.onDraftSaved(event.detail));
    await this.desk.load();
    await this.present();
  }

  stop(error) {
    this.problem = error;
    this.view = 'problem';
  }

  /** Puts the task in hand on the screen. */
  async present() {
    const row = this.desk.current;
    if (!row) {
      this.shown = this.coming = null;
      this.view = this.desk.empty || this.desk.problem ? 'done' : 'loading';
      this.requestUpdate(); // what is said there may have changed
      return;
    }
    if (row === this.shown || row === this.coming) {
      this.requestUpdate();
      return;
    }
    this.coming = row; // nothing of it is shown before all of it is here
    const body = await this.desk.beginning(row);
    if (this.coming !== row || this.desk.current !== row) return;
    this.coming = null;
    this.shown = row;
    this.body = body;
    this.keys = new KeyMap(row.task.task, row.task.schema, this.me.keymap);
    this.clock.reset(body ?? {});
    this.view = 'task';
    this.kept = '';
    this.shownAt = performance.now();
    if (row.task.guideline > this.agreed) {
      await this.showGuideline(true); // it changed while we were working
      return;
    }
    this.requestUpdate();
    await this.updateComplete;
    this.clock.present();
    this.clock.complete();
    window.scrollTo({ top: 0 });
    void this.focusOn(row.task.task === 'demonstrate' ? '#answer' : '.task-start');
  }

  get screen() {
    return this.querySelector('[data-screen]');
  }

  /** Whether a dialog has the keys. One that is shut says so later; the next key may be sooner. */
  get modal() {
    return this.dialog !== null && (this.querySelector('dialog')?.open ?? true);
  }

  // What the rater does

  async decide(body) {
    const row = this.desk.current;
    if (this.deciding || !row) return;
    this.deciding = true; // one press, one judgment, however slow the disk
    const full = clean(row.task, { ...body, ...this.clock.read() });
    const label = describe(row.task, full);
    const began = performance.now();
    try {
      await this.desk.judge(full, label, this.clock.presentation());
      this.say(`${label}.`);
      await this.painted;
      this.dataset.nextMs = (performance.now() - began).toFixed(1);
    } finally {
      this.deciding = false;
    }
    this.remindOfBreak();
  }

  async undo() {
    if (this.view === 'chat') {
      this.screen.undo();
      return;
    }
    const went = await this.desk.undo();
    this.say(went ? 'Back at your last answer. Choose again, or press Enter to leave it as it was.'
      : 'There is nothing to go back to.');
  }

  async skip(reason) {
    await this.desk.skip(reason);
    this.say('Skipped. Next task.');
  }

  async ask(text) {
    await this.desk.ask(text);
    this.say('Your question is on its way.');
  }

  /** An answer that came since this browser last showed them is told, and marked until it is read. */
  async noticeAnswer() {
    const newest = this.desk.answered;
    if (!newest || newest === this.noticed) return;
    this.noticed = newest;
    const read = await this.local.one('meta', `answers-${this.round}`);
    if (newest <= (read?.at ?? 0)) return;
    this.answered = true;
    this.say('The researchers have answered a question of yours. Open Ask to read it.');
  }

  async readAnswers() {
    const found = await this.api.send('GET', `/rounds/${this.round}/questions`);
    this.answered = false;
    if (found.answered) {
      await this.outbox.write([['meta', 'put',
        { id: `answers-${this.round}`, at: found.answered }]]);
    }
    return found.questions;
  }

  async toggleGuideline() {
    if (this.panel) {
      this.panel = false;
      return;
    }
    await this.showGuideline(false);
    if (this.panel) void this.focusOn('#guideline-title');
  }

  async showGuideline(must) {
    try {
      this.guideline = await this.api.send('GET', `/rounds/${this.round}/guideline`);
    } catch (error) {
      if (must) this.stop(error);
      else this.say('The guideline cannot be loaded just now.');
      return;
    }
    this.panel = !must;
    if (must) {
      this.view = 'guideline';
      void this.focusOn('#guideline-title');
    }
  }

  async acknowledge() {
    const { version } = this.guideline;
    try {
      await this.api.send('POST', `/rounds/${this.round}/guideline/acknowledge`,
        { version, key: newKey() });
    } catch (error) {
      if (error instanceof SignedOut) this.outbox.later(error);
      this.say(`This could not be saved: ${error.message} Please try again.`);
      return;
    }
    this.agreed = version;
    this.shown = null;
    if (this.desk) await this.present();
    else await this.work();
  }

  // What comes back

  onSent({ entry, reply }) {
    if (reply.progress) Object.assign(this.info, reply.progress);
    if (reply.feedback) {
      this.feedback.push(reply.feedback);
      if (!this.dialog) this.nextFeedback();
    }
    if (this.desk && !this.desk.current) void this.desk.fill();
    if (entry.kind === 'question') this.say('The researchers have your question.');
    this.requestUpdate();
  }

  nextFeedback() {
    const feedback = this.feedback.shift();
    this.dialog = feedback ? { name: 'feedback', feedback } : null;
  }

  onDraftSaved(where) {
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.kept = where === 'server' ? `Saved at ${time}, here and on the server.`
      : `Kept on this computer at ${time}.`;
    this.requestUpdate();
  }

  remindOfBreak() {
    this.began ??= Date.now();
    if (Date.now() - this.began < BREAK_MS) return;
    this.began = Date.now();
    this.say('You have worked for 50 minutes. A short break is good for you and for the answers.');
  }

  /** The key map goes with the person to their next computer; this browser has it already. */
  keepKeys() {
    this.me.keymap = { ...this.me.keymap, [this.keys.task]: this.keys.changes() };
    this.api.send('PUT', '/me/settings', { settings: { keymap: this.me.keymap } }).catch(() => {});
    this.requestUpdate();
  }

  say(text) {
    this.said = text;
  }

  // Keys

  onKey(event) {
    if (event.defaultPrevented || this.modal || !this.outbox) return;
    if (isText(event.target)) {
      if (event.key === 'Escape') void this.focusOn('.task-start');
      return;
    }
    const name = nameOf(event);
    if (!name) return;
    if (this.view === 'guideline') {
      if (name === 'Enter' && !onControl(event.target)) void this.acknowledge();
      return;
    }
    if (name === 'Enter' && onControl(event.target)) return; // the control's own
    if (name === ' ' && (onControl(event.target) || event.target instanceof HTMLInputElement)) return;
    const screen = this.screen;
    if (screen?.key(name)) {
      event.preventDefault();
      return;
    }
    const action = this.keys?.action(name);
    if (!action || (event.repeat && !name.startsWith('Arrow'))) return;
    event.preventDefault();
    this.run(action);
  }

  run(action) {
    const { screen } = this;
    const general = { skip: () => this.open('skip'), undo: () => void this.undo(),
      guideline: () => void this.toggleGuideline(), question: () => this.open('question'),
      help: () => this.open('help') };
    if (action in general) general[action]();
    else if (screen && performance.now() - this.shownAt >= SETTLE_MS) screen.act(action);
  }

  open(name) {
    if (['skip', 'question'].includes(name) && this.view !== 'task') return;
    this.dialog = { name };
  }

  shut() {
    this.dialog = null;
    if (this.feedback.length) this.nextFeedback();
  }

  // What is seen

  render() {
    return html`<div class="work-page">
      ${bar(this)}
      ${this.outbox ? this.renderNotices() : nothing}
      <div class="stage ${this.panel ? 'with-panel' : ''}">
        <div class="desk">${this.renderView()}</div>
        ${this.panel ? html`<aside class="panel" aria-label="Guideline"><accord-guideline
          .guideline=${this.guideline} @shut=${() => { this.panel = false; }}></accord-guideline>
          </aside>` : nothing}
      </div>
      ${this.renderDialog()}
      <p class="sr-only" role="status" aria-live="polite">${this.said}</p>
    </div>`;
  }

  renderNotices() {
    if (this.outbox.link === 'signed-out') {
      return html`<p class="notice" role="alert">Your session has ended. Your answers are kept on this
        computer and are sent after you
        <a href="/login?next=${encodeURIComponent(`/work/${this.round}`)}">sign in again</a>.</p>`;
    }
    return this.local.keeps ? nothing : html`<p class="notice" role="alert">This browser lets us keep
      nothing on this computer. Answers go straight to the server; please stay online.</p>`;
  }

  renderView() {
    switch (this.view) {
      case 'loading': return html`<p class="empty" role="status">One moment…</p>`;
      case 'guideline': return html`<div class="reading"><accord-guideline must
        .guideline=${this.guideline} @acknowledge=${this.acknowledge}></accord-guideline></div>`;
      case 'chat': return html`<accord-chat data-screen .host=${this}></accord-chat>`;
      case 'task': return this.renderTask();
      case 'done': return this.renderDone();
      default: return this.renderProblem();
    }
  }

  renderTask() {
    const { task } = this.shown;
    const shared = { task, keys: this.keys, body: this.body };
    return html`<div class="task" @decide=${(e) => this.decide(e.detail)}
        @draft=${(e) => this.desk.draft({ ...e.detail, ...this.clock.read() })}
        @say=${(e) => this.say(e.detail)}>
      <h2 class="task-start" tabindex="-1">${this.shown.body
        ? html`<span class="revising">You are changing an earlier answer</span>` : nothing}
        <span class="sr-only">${task.question || task.schema.question}</span></h2>
      ${{
    compare: () => html`<accord-compare data-screen .task=${shared.task} .keys=${shared.keys}
          .body=${shared.body} .tools=${tools(this)}></accord-compare>`,
    rank: () => html`<accord-rank data-screen .task=${shared.task} .keys=${shared.keys}
          .body=${shared.body} .tools=${tools(this)}></accord-rank>`,
    demonstrate: () => html`<accord-demonstrate data-screen .task=${shared.task}
          .keys=${shared.keys} .body=${shared.body} .kept=${this.kept}
          .tools=${tools(this)}></accord-demonstrate>`,
  }[task.task]()}</div>`;
  }

  renderDone() {
    const waiting = this.outbox.pending.length;
    const gone = this.desk.problem && !this.desk.empty;
    const { practice } = this.desk;
    if (practice && !gone) return this.renderPracticeOver(practice, waiting);
    return html`<section class="empty card" aria-labelledby="done-title">
      <h2 id="done-title">${gone ? 'No more tasks on this computer' : 'All done here'}</h2>
      <p>${gone ? `${this.desk.problem.message} ${this.desk.problem.how ?? ''}
          Your answers are safe on this computer.`
        : 'There is nothing more for you in this round at the moment. Thank you for your care.'}</p>
      ${waiting ? html`<p>${savedText(this.outbox)}</p>` : nothing}
      ${this.answered ? html`<p class="notice">The researchers have answered a question of yours.
        <button type="button" class="button small" @click=${() => { this.dialog = { name: 'question' }; }}>Read it</button></p>` : nothing}
      <p class="row"><button type="button" class="button primary"
        @click=${() => this.desk.fill()}>Look again</button>
        ${this.desk.history.length ? html`<button type="button" class="button"
          @click=${this.undo}>Change my last answer</button>` : nothing}
        <a class="button quiet" href="/">All rounds</a></p></section>`;
  }

  renderPracticeOver({ right, of, needed, too_fast: fast }, waiting) {
    return html`<section class="empty card" aria-labelledby="done-title">
      <h2 id="done-title">The practice is over for now</h2>
      <p>Of your last ${of} practice answers ${right} ${right === 1 ? 'was' : 'were'} as the researchers
        would have chosen; ${needed} are needed before the real tasks. ${fast ? 'They came faster than anybody can read the texts, so they do not count as passed.'
    : nothing} There are no more practice tasks.</p>
      <p>Read the guideline once more, then ask the people who run this studio: they can let you practise
        again, or tell you what they see differently. Nothing that you did is lost.</p>
      ${waiting ? html`<p>${savedText(this.outbox)}</p>` : nothing}
      <p class="row"><button type="button" class="button primary" @click=${() => this.desk.fill()}>Look again
        </button>${this.info.guideline?.version && !this.panel ? html`<button type="button" class="button"
          @click=${() => this.toggleGuideline()}>Read the guideline</button>` : nothing}
        <a class="button quiet" href="/">All rounds</a></p></section>`;
  }

  renderProblem() {
    const { problem } = this;
    const out = problem instanceof SignedOut;
    return html`<section class="empty card" role="alert"><h2>${out ? 'Please sign in'
      : 'This page cannot go on'}</h2>
      <p>${problem.what ?? problem.message} ${problem.how ?? ''}</p>
      <p class="row">${out ? html`<a class="button primary"
        href="/login?next=${encodeURIComponent(`/work/${this.round}`)}">Sign in</a>`
    : html`<button type="button" class="button primary"
        @click=${() => window.location.reload()}>Try again</button>`}
        <a class="button quiet" href="/">All rounds</a></p></section>`;
  }

  /** A new dialog is a new element, also where one of its kind is shut and has not said so yet. */
  renderDialog() {
    return repeat([this.dialog], (dialog) => dialog, () => this.dialogOf());
  }

  dialogOf() {
    const { dialog } = this;
    const shut = () => { if (this.dialog === dialog) this.shut(); };
    switch (this.dialog?.name) {
      case 'skip': return html`<accord-skip @shut=${shut}
        @skip=${(e) => this.skip(e.detail)}></accord-skip>`;
      case 'question': return html`<accord-question .earlier=${() => this.readAnswers()}
        .task=${this.shown?.assignment} @shut=${shut} @ask=${(e) => this.ask(e.detail)}></accord-question>`;
      case 'help': return html`<accord-help .keys=${this.keys} @shut=${shut}
        @keys=${() => this.keepKeys()}></accord-help>`;
      case 'saved': return html`<accord-saved .outbox=${this.outbox} .keeps=${this.local.keeps}
        @shut=${shut}></accord-saved>`;
      case 'feedback': return html`<accord-feedback .feedback=${this.dialog.feedback}
        @shut=${shut}></accord-feedback>`;
      default: return nothing;
    }
  }
}
customElements.define('accord-workspace', Workspace);

function onControl(target) {
  return target instanceof Element && Boolean(target.closest('button, a, summary, select'));
}

/** Leaves out what the round does not ask for. */
export function clean(task, body) {
  if (task.task === 'demonstrate') return body;
  const { schema } = task;
  const full = { ...body, reasons: body.reasons ?? [], comment: (body.comment ?? '').trim() };
  if (schema.comment === 'off') full.comment = '';
  full.labels = schema.response_labels.length ? withFlags(task, body.labels ?? {}) : {};
  if (task.task === 'compare') full.sides = schema.pair_labels.length ? body.sides ?? {} : {};
  return full;
}

/** A flag that nobody ticked was seen and not true. */
function withFlags(task, labels) {
  const flags = task.schema.response_labels.filter((label) => label.kind === 'flag');
  const none = Object.fromEntries(flags.map((label) => [label.name, false]));
  return Object.fromEntries(task.responses.map(({ slot }) => [slot, { ...none, ...labels[slot] }]));
}

/** A judgment in words, for the rater. */
function describe(task, body) {
  if (task.task === 'demonstrate') return 'Answer sent off';
  if (task.task === 'compare') return inWords(body, task.schema);
  const order = [...new Set(body.ranks)].sort((x, y) => x - y).map((rank) => body.ranks
    .flatMap((each, slot) => (each === rank ? [LETTERS[slot]] : [])).join(' = '));
  return `Ranked ${order.join(', ')}`;
}
