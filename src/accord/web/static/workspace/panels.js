// What opens beside or above a task: guideline, key map, reasons to skip, a question, what is saved.

import { unsafeHTML } from '../vendor/lit.js';
import { Part, html, nothing } from './ui.js';
import { nameOf, shown } from './keys.js';

/** What the server is told; "later" brings the task back at the end. */
export const SKIP_REASONS = [
  'later',
  'Too hard for me to judge',
  'I do not know the subject',
  'The text is broken or cut off',
  'It upsets me, or is harmful',
  'It shows private information',
  'Another reason',
];

/** A native dialog: focus stays inside, Escape closes, focus returns. */
class Dialog extends Part {
  firstUpdated() {
    this.dialog.showModal();
  }

  get dialog() {
    return this.querySelector('dialog');
  }

  frame(title, body, foot = nothing) {
    return html`<dialog aria-labelledby="dialog-title" @close=${() => this.tell('shut')}
        @keydown=${this.keydown} @cancel=${this.cancel}>
      <header class="dialog-head"><h2 id="dialog-title" tabindex="-1" autofocus>${title}</h2>
        <button type="button" class="button quiet small" @click=${() => this.dialog.close()}>Close
          <kbd aria-hidden="true">Esc</kbd></button></header>
      <div class="dialog-body">${body}</div>${foot}</dialog>`;
  }

  keydown() {}

  cancel() {}
}

export class SkipDialog extends Dialog {
  render() {
    return this.frame('Why skip this one?', html`
      <p class="help">What you wrote on it stays on this computer.</p>
      <div class="choices">${SKIP_REASONS.map((reason, i) => html`<button type="button"
        class="button" @click=${() => this.choose(i)}><kbd aria-hidden="true">${i + 1}</kbd>
        ${reason === 'later' ? 'Not now, bring it back later' : reason}</button>`)}</div>`);
  }

  keydown(event) {
    const digit = Number(nameOf(event));
    if (digit >= 1 && digit <= SKIP_REASONS.length) {
      event.preventDefault();
      this.choose(digit - 1);
    }
  }

  choose(index) {
    this.tell('skip', SKIP_REASONS[index]);
    this.dialog.close();
  }
}
customElements.define('accord-skip', SkipDialog);

/** What was asked before, with the answers, and a place to ask about the task in hand. */
export class QuestionDialog extends Dialog {
  static properties = { earlier: {}, task: {}, empty: { state: true }, asked: { state: true } };

  render() {
    return this.frame('Ask the researchers', html`${this.thread()}
      ${this.task ? html`<label for="question-text">Your question about this task</label>
      <textarea id="question-text" rows="4" maxlength="4000" @keydown=${this.send}></textarea>
      <p class="${this.empty ? 'wanted' : 'help'}">${this.empty ? 'Write your question first.'
        : 'They see the task with it. You can go on; the answer will be shown here.'}</p>
      <p class="row"><button type="button" class="button primary" @click=${this.ask}>Send question
        <kbd aria-hidden="true">Ctrl + Enter</kbd></button></p>` : nothing}`);
  }

  firstUpdated() {
    super.firstUpdated();
    this.querySelector('textarea')?.focus();
  }

  async connectedCallback() {
    super.connectedCallback();
    this.asked = [];
    try {
      this.asked = await this.earlier();
    } catch { /* no network: what was asked shows another time, and asking works all the same */ }
  }

  thread() {
    if (!this.asked.length) return nothing;
    const mine = (row) => row.assignment === this.task;
    const rows = [...this.asked.filter(mine), ...this.asked.filter((row) => !mine(row))];
    return html`<section class="thread" aria-label="What you asked before" tabindex="0">
      ${rows.map((row) => html`<article>
        <p class="muted">${mine(row) ? 'About this task' : `About “${row.about}”`}</p>
        <p class="asked">${row.text}</p>
        <p class="${row.answer ? 'answer' : 'muted'}">${row.answer || 'Not answered yet.'}</p>
        </article>`)}</section>`;
  }

  send(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.ask();
  }

  ask() {
    const text = this.querySelector('textarea').value.trim();
    this.empty = !text;
    if (!text) return;
    this.tell('ask', text);
    this.dialog.close();
  }
}
customElements.define('accord-question', QuestionDialog);

export class FeedbackDialog extends Dialog {
  static properties = { feedback: {} };

  render() {
    const { right, why } = this.feedback;
    return this.frame(right ? 'You and the researchers agree' : 'The researchers chose differently',
      html`<p>This was a practice task, your last answer.</p>
        ${why ? html`<p class="prose">${why}</p>` : nothing}`,
      html`<footer class="row"><button type="button" class="button primary"
        @click=${() => this.dialog.close()}>Go on <kbd aria-hidden="true">Enter</kbd></button>
        </footer>`);
  }

  firstUpdated() {
    super.firstUpdated();
    this.querySelector('footer button').focus();
  }
}
customElements.define('accord-feedback', FeedbackDialog);

export class HelpDialog extends Dialog {
  static properties = { keys: {}, waiting: { state: true }, note: { state: true } };

  render() {
    const row = (action) => html`<tr><th scope="row">${action.text}</th>
      <td>${action.keys.map((key) => html`<kbd>${shown(key)}</kbd> `)}</td>
      <td><button type="button" class="button quiet small" data-change=${action.id}
        aria-label="Change the key: ${action.text}" @click=${() => this.wait(action.id)}>
        ${this.waiting === action.id ? 'Press a key' : 'Change'}</button></td></tr>`;
    const group = (name) => this.keys.actions.filter((action) => action.group === name);
    return this.frame('Keys', html`
      <p class="help" role="status">${this.note
        || 'Click Change, then press the key you want. Kept in this browser.'}</p>
      <table class="keys"><thead class="sr-only"><tr><th>What it does</th><th>Key</th>
        <th>Change</th></tr></thead>
        <tbody>${group('judge').map(row)}</tbody><tbody>${group('work').map(row)}</tbody></table>
      <p class="row"><label class="flag"><input type="checkbox" .checked=${!this.keys.off}
          @change=${(e) => this.turn(!e.target.checked)}>
          <span>Single keys act (turn off if you dictate or press keys by mistake)</span></label>
        <button type="button" class="button quiet small" @click=${this.restore}>Restore all</button></p>
      ${this.look()}`);
  }

  look() {
    const now = window.accordLook?.get();
    if (!now) return nothing;
    const choose = (name, text, options) => html`<fieldset class="look"><legend>${text}</legend>
      ${options.map(([value, label]) => html`<label class="flag"><input type="radio" name=${name}
        .checked=${now[name] === value}
        @change=${() => { window.accordLook.set(name, value); this.requestUpdate(); }}>
        <span>${label}</span></label>`)}</fieldset>`;
    return html`<h3>How it looks</h3><div class="looks">
      ${choose('theme', 'Colours', [['system', 'As the system'], ['light', 'Light'], ['dark', 'Dark']])}
      ${choose('size', 'Text', [['s', 'Small'], ['m', 'Medium'], ['l', 'Large']])}
      ${choose('contrast', 'Contrast', [['normal', 'Normal'], ['more', 'High']])}</div>`;
  }

  wait(id) {
    this.waiting = this.waiting === id ? '' : id;
    this.note = this.waiting ? 'Press the new key. Escape leaves it as it was.' : '';
  }

  keydown(event) {
    if (!this.waiting) return;
    const name = nameOf(event);
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    const other = this.keys.change(this.waiting, name);
    this.note = `${shown(name)} is set.${other ? ` "${other.text}" has the old key now.` : ''}`;
    this.waiting = '';
    this.tell('keys');
  }

  cancel(event) {
    if (!this.waiting) return;
    event.preventDefault();
    this.waiting = '';
    this.note = '';
  }

  turn(off) {
    this.keys.setOff(off);
    this.requestUpdate();
    this.tell('keys');
  }

  restore() {
    this.keys.reset();
    this.note = 'All keys are as they came.';
    this.requestUpdate();
    this.tell('keys');
  }
}
customElements.define('accord-help', HelpDialog);

export class SavedDialog extends Dialog {
  static properties = { outbox: {}, keeps: {} };

  connectedCallback() {
    super.connectedCallback();
    this.follow = () => this.requestUpdate();
    this.outbox.addEventListener('change', this.follow);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.outbox.removeEventListener('change', this.follow);
  }

  render() {
    const { pending, refused } = this.outbox;
    return this.frame('What is saved where', html`
      <p>${this.keeps ? 'Every answer is first written to this browser on this computer, then sent. '
        + 'It leaves this computer only when the server has said that it is saved. You may reload '
        + 'or close the page at any time; what still waits is sent when you come back.'
        : 'This browser lets us keep nothing on this computer. Please do not close the page while '
        + 'answers are waiting.'}</p>
      ${pending.length ? html`<h3>Waiting here: ${pending.length}</h3><ul class="plain-list">
        ${pending.map((entry) => html`<li>${entry.label}</li>`)}</ul>
        <p><button type="button" class="button" @click=${() => this.outbox.hurry()}>Try now
        </button></p>` : html`<p><strong>Nothing is waiting: the server has everything.</strong></p>`}
      ${refused.length ? html`<h3>Not taken by the server: ${refused.length}</h3>
        <ul class="plain-list">${refused.map((entry) => html`<li>
          <p>${entry.label}: ${entry.refused.what} ${entry.refused.how}</p>
          ${ownWords(entry.body) ? html`<textarea readonly rows="3" aria-label="What you wrote"
            .value=${ownWords(entry.body)}></textarea>` : nothing}
          <button type="button" class="button quiet small"
            @click=${() => this.outbox.dismiss(entry.key)}>I have seen it, remove it</button></li>`)}
        </ul>` : nothing}`);
  }
}
customElements.define('accord-saved', SavedDialog);

/** The words a person would not want to write again. */
function ownWords(body) {
  return body.text ?? body.body?.completion ?? body.body?.comment ?? '';
}

/** The guideline: beside the task, or before it when it must be read. */
export class Guideline extends Part {
  static properties = { guideline: {}, must: { type: Boolean } };

  render() {
    const { version, html: text, changed_html: changed } = this.guideline;
    return html`<div class="guideline-text">
      <header class="pane-head"><h2 id="guideline-title" tabindex="-1">Guideline
        <span class="muted">version ${version}</span></h2>
        ${this.must ? nothing : html`<button type="button" class="button quiet small"
          @click=${() => this.tell('shut')}>Close</button>`}</header>
      ${this.must && changed ? html`<p class="notice">It changed since you last read it. What is new
        is marked; what was taken out is struck through.</p>
        <div class="prose changes">${unsafeHTML(changed)}</div>
        <details><summary>The whole guideline</summary><div class="prose">${unsafeHTML(text)}</div>
        </details>` : html`<div class="prose">${unsafeHTML(text)}</div>`}
      ${this.must ? html`<p class="row"><button type="button" class="button primary"
        @click=${() => this.tell('acknowledge')}>I have read it, start
        <kbd aria-hidden="true">Enter</kbd></button></p>` : nothing}</div>`;
  }
}
customElements.define('accord-guideline', Guideline);
