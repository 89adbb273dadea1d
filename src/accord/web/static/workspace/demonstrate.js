// Writing the answer that one would like to get. Kept while it is written.

import { live } from '../vendor/lit.js';
import { Part, conversation, html, nothing, prose } from './ui.js';

export class Demonstrate extends Part {
  static properties = { task: {}, keys: {}, body: {}, tools: {}, text: {}, draftUsed: {}, draftOpen: {},
    kept: {} };

  constructor() {
    super();
    this.body = null;
    this.kept = '';
  }

  willUpdate(changed) {
    if (!changed.has('task')) return;
    this.text = this.body?.completion ?? '';
    this.draftUsed = Boolean(this.body?.draft_used);
    this.draftOpen = this.draftUsed;
  }

  updated() {
    const area = this.querySelector('#answer');
    if (!area) return;
    area.style.height = 'auto'; // as tall as what is written
    area.style.height = `${area.scrollHeight + 2}px`;
  }

  render() {
    const { prompt, schema, responses } = this.task;
    const draft = responses[0];
    return html`${conversation(prompt)}
      <section class="pane writing" aria-label="Your answer">
        <label for="answer" class="question">${this.task.question || schema.question}</label>
        <textarea id="answer" rows="8" maxlength="100000" dir="auto" .value=${live(this.text)}
          aria-describedby="answer-help" @input=${this.write} @keydown=${this.keydown}></textarea>
        <p id="answer-help" class="help">${this.kept
          || 'What you write is kept as you write. Ctrl + Enter sends it.'}</p>
      </section>
      ${draft ? html`<details class="pane draft" ?open=${this.draftOpen}
          @toggle=${(e) => { this.draftOpen = e.target.open; }}>
        <summary>A draft by the model, if it helps</summary>${prose(draft)}
        <button type="button" class="button" @click=${() => this.useDraft(draft.text)}>
          ${this.text.trim() ? 'Add the draft to my answer' : 'Start from the draft'}</button>
        <p class="help">Whether you used it is kept with your answer. Starting afresh is fine.</p>
        </details>` : nothing}
      <div class="decide"><div class="row">${this.tools}
        <span class="help">${this.draftUsed ? 'You used the draft.' : nothing}</span>
        <button type="button" class="button primary" @click=${this.send}>Send answer
          <kbd aria-hidden="true">Ctrl + Enter</kbd></button></div></div>`;
  }

  current() {
    return { completion: this.text, draft_used: this.draftUsed };
  }

  write(event) {
    this.text = event.target.value;
    this.tell('draft', this.current());
  }

  keydown(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      this.send();
    }
  }

  useDraft(text) {
    this.text = this.text.trim() ? `${this.text.trimEnd()}\n\n${text}` : text;
    this.draftUsed = true;
    this.tell('draft', this.current());
    void this.focusOn('#answer');
  }

  send() {
    if (!this.text.trim()) {
      this.tell('say', 'The answer is empty. Write one, or skip the task.');
      void this.focusOn('#answer');
      return;
    }
    this.tell('decide', this.current());
  }

  key() {
    return false;
  }

  act(action) {
    if (action !== 'submit') return false;
    this.send();
    return true;
  }
}
customElements.define('accord-demonstrate', Demonstrate);
