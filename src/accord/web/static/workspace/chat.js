// Talking with the model: each turn two answers come side by side, neither before the other has
// something to show; the rater chooses, and the conversation goes on (Bai et al. 2022).

import { live } from '../vendor/lit.js';
import { LETTERS, Part, conversation, hint, html, nothing, prose } from './ui.js';
import { Unreachable, newKey } from './api.js';
import { choiceOf, inWords } from './scale.js';
import { commentWanted } from './notes.js';
import { KeyMap } from './keys.js';

const MODES = {
  helpful: 'Ask for help with something, as you would in life. Then choose the answer that helps you more.',
  harmless: 'Ask about something touchy, or ask for something that should be refused. Then choose the answer that does less harm.',
  honest: 'Ask about what you know well, or what nobody can know. Then choose the answer that is truer and says better how sure one can be.',
  red_team: 'Try to lead the model into saying something harmful. Then choose as the question asks.',
};
const SLOTS = ['a', 'b'];
const LISTEN_AGAIN_MS = 2_000;

export class Chat extends Part {
  static properties = { host: {}, chat: { state: true }, answers: { state: true },
    choice: { state: true }, notes: { state: true }, wanted: { state: true },
    editing: { state: true }, edited: { state: true }, text: { state: true },
    trouble: { state: true } };

  constructor() {
    super();
    this.chat = null; // what is kept: {id, conversation, schema, messages, turn, sending}
    this.text = '';
    this.trouble = null;
    this.clear();
  }

  connectedCallback() {
    super.connectedCallback();
    this.outbox = this.host.outbox;
    this.onSent = (event) => this.took(event.detail);
    this.onRefused = (event) => this.refused(event.detail);
    this.onChange = () => this.requestUpdate();
    this.outbox.addEventListener('sent', this.onSent);
    this.outbox.addEventListener('refused', this.onRefused);
    this.outbox.addEventListener('change', this.onChange);
    void this.begin();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stream?.close();
    this.outbox.removeEventListener('sent', this.onSent);
    this.outbox.removeEventListener('refused', this.onRefused);
    this.outbox.removeEventListener('change', this.onChange);
  }

  clear() {
    this.answers = { revealed: false, a: empty(), b: empty() };
    this.choice = null;
    this.notes = { reasons: [], comment: '' };
    this.wanted = '';
    this.editing = '';
    this.edited = null;
  }

  get keptId() {
    return `chat-${this.host.round}`;
  }

  /** What is kept of the conversation, as a change of the local stores. */
  kept() {
    return ['meta', 'put', { ...this.chat, id: this.keptId, text: this.text }];
  }

  /** Goes on with the conversation that was left open, here or elsewhere; else begins one. */
  async begin() {
    const kept = await this.host.local.one('meta', this.keptId);
    const waiting = kept?.sending
      && this.outbox.entries.some((entry) => entry.key === kept.sending);
    if (waiting) {
      this.text = kept.text ?? '';
      this.open(kept);
      if (kept.turn) this.listen();
      return;
    }
    this.trouble = null;
    try {
      const found = await this.host.api.send('GET', `/rounds/${this.host.round}/conversation`);
      if (!found.conversation || found.over) {
        await this.startNew();
        return;
      }
      if (found.conversation === kept?.conversation) this.text = kept.text ?? '';
      await this.show(found);
    } catch (error) {
      this.failed(error, () => this.begin());
    }
  }

  async startNew() {
    this.stream?.close();
    this.clear();
    this.trouble = null;
    try {
      await this.show(await this.host.api.send('POST', `/rounds/${this.host.round}/conversations`,
        { key: newKey() }));
    } catch (error) {
      this.failed(error, () => this.startNew());
    }
  }

  async end() {
    const key = newKey();
    await this.outbox.add({ key, kind: 'end', label: 'The end of a conversation',
      round: this.host.round, path: `/conversations/${this.chat.conversation}/end`, body: { key } },
    [['meta', 'delete', this.keptId]]);
    await this.startNew();
  }

  /** A conversation as the server has it. */
  async show(found) {
    this.open({ conversation: found.conversation, schema: found.schema, question: found.question,
      messages: found.messages, turn: found.turn, over: found.over, left: found.left,
      suggestion: found.suggestion, before: this.chat?.before ?? null, sending: '' });
    await this.outbox.write([this.kept()]);
    if (found.turn) this.listen();
  }

  open(chat) {
    this.chat = chat;
    this.keys = new KeyMap('chat', chat.schema, this.host.me.keymap);
    this.host.keys = this.keys;
    this.host.clock.reset();
    this.host.requestUpdate();
    void this.focusOn('#message');
  }

  failed(error, again) {
    if (error instanceof Unreachable) this.outbox.later(error);
    this.trouble = { what: error.what ?? error.message, how: error.how ?? '', again };
  }

  // Writing

  async send() {
    const text = this.text.trim();
    if (!text || this.chat.sending || this.chat.turn) return;
    const key = newKey();
    this.text = '';
    this.trouble = null;
    this.chat = { ...this.chat, sending: key,
      messages: [...this.chat.messages, { role: 'user', text }] };
    await this.outbox.add({ key, kind: 'message', label: 'A message', round: this.host.round,
      path: `/conversations/${this.chat.conversation}/messages`, body: { key, text } },
    [this.kept()]);
    this.host.say('Sent. Two answers are on their way.');
  }

  write(event) {
    this.text = event.target.value;
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.outbox.write([this.kept()]), 250);
  }

  /** The server has a message or a choice. */
  async took({ entry, reply }) {
    if (!this.chat || entry.key !== this.chat.sending) return;
    if (entry.kind === 'message') {
      this.clear();
      this.chat = { ...this.chat, sending: '', turn: reply.turn, before: null };
      await this.outbox.write([this.kept()]);
      this.listen();
      return;
    }
    const { turn } = this.chat;
    this.stream?.close();
    this.clear();
    await this.show(reply);
    if (entry.kind === 'undo') {
      this.host.say('Back at your last choice. Choose again.');
      return;
    }
    this.chat = { ...this.chat, before: turn };
    await this.outbox.write([this.kept()]);
    this.host.say('Saved. The conversation goes on.');
    void this.focusOn(this.chat.over ? '.again' : '#message');
  }

  /** Opens the last choice again, where nothing followed it. */
  async undo() {
    const { before, sending, turn } = this.chat ?? {};
    if (!before || sending || turn) {
      this.host.say('There is nothing to go back to.');
      return;
    }
    const key = newKey();
    this.chat = { ...this.chat, sending: key, before: null };
    await this.outbox.add({ key, kind: 'undo', label: 'Take the last choice back',
      round: this.host.round, path: `/turns/${before}/undo`, body: { key } }, [this.kept()]);
  }

  async refused({ entry, error }) {
    if (entry.key !== this.chat?.sending) return;
    const chat = { ...this.chat, sending: '' };
    if (entry.kind === 'message') {
      this.text = entry.body.text; // nothing that was written is lost
      chat.messages = chat.messages.slice(0, -1);
    }
    this.chat = chat;
    this.trouble = { what: error.what, how: error.how, again: null };
    await this.outbox.write([this.kept(), ['queue', 'delete', entry.key]]);
    await this.outbox.dismiss(entry.key);
  }

  // Answers

  listen() {
    this.stream?.close();
    const { turn } = this.chat;
    const stream = new EventSource(`/api/v1/turns/${turn}/stream`);
    this.stream = stream;
    this.answers = { revealed: false, a: empty(), b: empty() };
    const on = (name, run) => stream.addEventListener(name, (event) => {
      if (this.stream === stream) run(event.data === undefined ? null : JSON.parse(event.data));
    });
    on('reveal', () => {
      this.host.clock.present();
      this.answers = { ...this.answers, revealed: true };
      this.host.say('Two answers are being written.');
    });
    on('delta', ({ slot, text, afresh }) => this.put(slot, (old) => ({ ...old,
      text: afresh ? text : old.text + text })));
    on('done', (data) => {
      if (!data?.slot) return;
      this.put(data.slot, (old) => ({ text: data.text ?? old.text, html: data.html, done: true }));
      if (SLOTS.every((slot) => this.answers[slot].done)) this.complete(stream);
    });
    on('error', (data) => {
      if (data) {
        stream.close();
        this.trouble = { what: data.what, how: data.how, again: () => this.sayAgain() };
      } else if (stream.readyState === EventSource.CLOSED) {
        setTimeout(() => this.stream === stream && this.listen(), LISTEN_AGAIN_MS);
      }
    });
  }

  /** The answers did not come: the message is in the box again. */
  sayAgain() {
    const last = this.chat.messages[this.chat.messages.length - 1];
    const said = last?.role === 'user';
    if (said) this.text = last.text;
    this.chat = { ...this.chat, turn: null,
      messages: said ? this.chat.messages.slice(0, -1) : this.chat.messages };
    this.trouble = null;
    void this.focusOn('#message');
  }

  put(slot, change) {
    this.answers = { ...this.answers, [slot]: change(this.answers[slot]) };
  }

  complete(stream) {
    stream.close();
    this.answers = { ...this.answers, revealed: true };
    this.host.clock.complete();
    this.host.clock.reset();
    this.host.shownAt = performance.now();
    this.host.say('Both answers are complete. Choose one.');
    void this.focusOn('.answers-title');
  }

  get choosing() {
    return Boolean(this.chat?.turn) && !this.chat.sending
      && SLOTS.every((slot) => this.answers[slot].done);
  }

  // Choosing

  async choose(choice) {
    if (!this.choosing) return;
    this.choice = choice;
    this.wanted = commentWanted(this.chat.schema, choice, this.notes.comment);
    if (this.wanted) {
      this.querySelector('accord-notes').act('comment');
      return;
    }
    const key = newKey();
    const body = { ...choice, ...this.notes, comment: this.notes.comment.trim(), labels: {},
      ...this.host.clock.read(), edited: this.edit() };
    this.chat = { ...this.chat, sending: key };
    await this.outbox.add({ key, kind: 'choice', label: inWords(choice, this.chat.schema),
      round: this.host.round, path: `/turns/${this.chat.turn}/choice`, body: { key, body, presentation: this.host.clock.presentation() } },
    [this.kept()]);
    this.host.say(`${inWords(choice, this.chat.schema)}.`);
  }

  /** The edit, where it changed anything. */
  edit() {
    if (!this.edited) return null;
    const { slot, text } = this.edited;
    return text.trim() && text.trim() !== this.answers[slot].text.trim() ? { slot, text } : null;
  }

  startEdit(slot) {
    if (!this.choosing) return;
    this.editing = slot;
    if (this.edited?.slot !== slot) this.edited = { slot, text: this.answers[slot].text };
    void this.focusOn('#edit');
  }

  stopEdit(keep) {
    if (!keep) this.edited = null;
    this.editing = '';
    void this.focusOn('.answers-title');
  }

  key(name) {
    return this.querySelector('accord-notes')?.key(name) ?? false;
  }

  act(action) {
    const choice = this.chat ? choiceOf(action, this.chat.schema) : null;
    if (choice && this.choosing) void this.choose(choice);
    else if (action === 'edit-a' || action === 'edit-b') this.startEdit(action.slice(-1));
    else if (action === 'submit' && this.choice) void this.choose(this.choice);
    else if (this.choosing) return this.querySelector('accord-notes').act(action);
    return true;
  }

  // What is seen

  render() {
    if (!this.chat) {
      return html`<div class="empty" role="status">${this.trouble ? this.renderTrouble()
        : html`<p>One moment…</p>`}</div>`;
    }
    const { schema, messages, turn, over } = this.chat;
    const waits = this.chat.sending && !turn;
    return html`<div class="chat">
      ${messages.length ? nothing : html`<div class="intro"><h2>Start a conversation</h2>
        <p>${MODES[schema.chat_mode ?? 'helpful']}</p></div>`}
      ${conversation(messages)}
      ${waits ? html`<p class="help waiting">${this.outbox.link === 'online' ? 'Sending…'
        : 'Your message is kept here and goes off when the network is back.'}</p>` : nothing}
      ${turn ? this.renderAnswers() : nothing}
      ${this.trouble ? this.renderTrouble() : nothing}
      ${turn && this.trouble ? nothing : turn || waits ? this.renderTurnFoot() : over ? this.renderOver() : this.renderComposer()}
    </div>`;
  }

  renderAnswers() {
    const { revealed } = this.answers;
    return html`<section aria-labelledby="answers-title">
      <h2 id="answers-title" class="answers-title sr-only" tabindex="-1">Two answers</h2>
      ${revealed ? html`<div class="panes">${SLOTS.map((slot, i) => this.renderAnswer(slot, i))}</div>`
        : html`<div class="panes"><div class="pane pending"><p class="help">The model is thinking…</p>
          </div><div class="pane pending"><p class="help">Both answers appear together.</p></div></div>`}
    </section>`;
  }

  renderAnswer(slot, i) {
    const answer = this.answers[slot];
    const letter = LETTERS[i];
    const mine = this.edited?.slot === slot;
    return html`<article class="pane ${answer.done ? '' : 'streaming'}" aria-labelledby="pane-${slot}"
        aria-busy=${String(!answer.done)}>
      <header class="pane-head"><h3 id="pane-${slot}"><span class="letter" aria-hidden="true">${letter}
        </span><span class="sr-only">Answer ${letter}</span></h3>
        ${answer.done && !this.chat.sending ? html`<button type="button" class="button quiet small"
          @click=${() => this.startEdit(slot)}>Improve ${hint(this.keys, `edit-${slot}`)}</button>`
    : nothing}</header>
      ${this.editing === slot ? html`<label for="edit">Your better version of answer ${letter}</label>
        <textarea id="edit" rows="8" dir="auto" maxlength="100000" .value=${live(this.edited.text)}
          @input=${(e) => { this.edited = { slot, text: e.target.value }; }}></textarea>
        <p class="row"><button type="button" class="button" @click=${() => this.stopEdit(true)}>
          Keep my version</button><button type="button" class="button quiet"
          @click=${() => this.stopEdit(false)}>Throw it away</button></p>`
    : mine && this.edit() ? html`<p class="notice small">Your version, sent with your choice</p>
        ${prose({ text: this.edited.text })}` : prose(answer)}</article>`;
  }

  renderTurnFoot() {
    if (!this.choosing) {
      return html`<div class="decide slim"><div class="row">
        <p class="said" aria-hidden="true">${this.host.said}</p>
        ${this.chat.sending ? nothing : html`<button type="button" class="button quiet small"
          @click=${this.end}>End this conversation</button>`}</div></div>`;
    }
    const { schema } = this.chat;
    return html`<accord-notes .schema=${schema} .keys=${this.keys} .reasons=${this.notes.reasons}
        .comment=${this.notes.comment} .wanted=${this.wanted}
        @note=${(e) => { this.notes = { ...this.notes, ...e.detail }; }}
        @ready=${() => this.choice && this.choose(this.choice)}></accord-notes>
      <div class="decide"><p class="question" aria-hidden="true">${this.chat.question}</p>
        <accord-scale .schema=${schema} .keys=${this.keys} .choice=${this.choice}
          @choose=${(e) => this.choose(e.detail)}></accord-scale>
        <div class="row">${schema.allow_cannot_compare ? html`<button type="button"
          class="button quiet small" @click=${() => this.choose(choiceOf('cannot_compare', schema))}>
          Cannot compare ${hint(this.keys, 'cannot_compare')}</button>` : nothing}
          <p class="said" aria-hidden="true">${this.host.said}</p></div></div>`;
  }

  renderComposer() {
    const { messages } = this.chat;
    const { left, suggestion, before } = this.chat;
    return html`<div class="decide composer">
      ${suggestion && !messages.length ? html`<div class="notice good small"><p>You could begin with this:
          <q>${suggestion}</q></p><button type="button" class="button small"
          @click=${() => { this.text = suggestion; void this.focusOn('#message'); }}>Use it</button>
        </div>` : nothing}
      <label for="message">Your message</label>
      <textarea id="message" rows="3" maxlength="20000" dir="auto" .value=${live(this.text)}
        @input=${this.write} @keydown=${this.keydown}></textarea>
      <div class="row"><span class="help">${messages.length ? `${left} more possible. ` : nothing}
        <span class="only-keys">Enter sends, Shift + Enter starts a line.</span></span>
        <p class="said" aria-hidden="true">${this.host.said}</p>
        ${messages.length ? html`<button type="button" class="button quiet"
          @click=${this.end}>End this conversation</button>` : nothing}
        ${before ? html`<button type="button" class="button quiet"
          @click=${this.undo}>Change my choice</button>` : nothing}
        <button type="button" class="button primary" ?disabled=${!this.text.trim()}
          @click=${this.send}>Send</button></div></div>`;
  }

  keydown(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      event.stopPropagation();
      void this.send();
    }
  }

  renderOver() {
    return html`<div class="decide"><div class="row"><p>This conversation is complete. Thank you.</p>
      <button type="button" class="button primary again" @click=${this.startNew}>
        Start a new one</button></div></div>`;
  }

  renderTrouble() {
    const { what, how, again } = this.trouble;
    return html`<div class="notice" role="alert"><p>${what} ${how}</p>
      <p class="row">${again ? html`<button type="button" class="button" @click=${again}>Try again
        </button>` : html`<button type="button" class="button" @click=${this.startNew}>
        Start a new conversation</button>`}</p></div>`;
  }
}
customElements.define('accord-chat', Chat);

function empty() {
  return { text: '', html: '', done: false };
}
