// Two responses side by side. One key decides and sends, unless the round asks for more.

import { LETTERS, Part, conversation, hint, html, nothing, prose } from './ui.js';
import { choiceOf } from './scale.js';
import { commentWanted } from './notes.js';
import './labels.js';
import './scale.js';
import './sides.js';

export class Compare extends Part {
  static properties = { task: {}, keys: {}, body: {}, tools: {}, choice: {}, notes: {}, labels: {},
    sides: {}, wanted: {} };

  constructor() {
    super();
    this.body = null;
  }

  willUpdate(changed) {
    if (!changed.has('task')) return;
    const body = this.body ?? {};
    this.choice = body.outcome ? { outcome: body.outcome, strength: body.strength ?? null } : null;
    this.notes = { reasons: body.reasons ?? [], comment: body.comment ?? '' };
    this.labels = body.labels ?? {};
    this.sides = body.sides ?? {};
    this.wanted = '';
  }

  render() {
    const { schema, responses, prompt } = this.task;
    return html`${conversation(prompt)}
      <div class="panes" @label=${this.label}>${responses.map((response, i) => html`
        <article class="pane" aria-labelledby="pane-${response.slot}">
          <h2 id="pane-${response.slot}"><span class="letter" aria-hidden="true">${LETTERS[i]}</span>
            <span class="sr-only">Response ${LETTERS[i]}</span></h2>
          ${prose(response)}
          ${schema.response_labels.length ? html`<accord-labels .labels=${schema.response_labels}
            .slot_=${response.slot} .values=${this.labels[response.slot] ?? {}}></accord-labels>`
            : nothing}
        </article>`)}</div>
      <accord-notes .schema=${schema} .keys=${this.keys} .reasons=${this.notes.reasons}
        .comment=${this.notes.comment} .wanted=${this.wanted}
        @note=${this.note} @ready=${this.send}></accord-notes>
      ${schema.pair_labels.length ? html`<accord-sides .labels=${schema.pair_labels} .keys=${this.keys}
        .values=${this.sides} @side=${this.side}></accord-sides>` : nothing}
      <div class="decide">
        <p class="question" aria-hidden="true">${this.task.question || schema.question}</p>
        <accord-scale .schema=${schema} .keys=${this.keys} .choice=${this.choice}
          @choose=${(e) => this.choose(e.detail)}></accord-scale>
        <div class="row">${this.tools}${schema.allow_cannot_compare ? html`<button type="button"
          class="button quiet small" data-action="cannot_compare"
          aria-pressed=${String(this.choice?.outcome === 'cannot_compare')}
          @click=${() => this.choose(choiceOf('cannot_compare', schema))}>Cannot compare
          ${hint(this.keys, 'cannot_compare')}</button>` : nothing}</div>
      </div>`;
  }

  /** What is on the screen now, sent or not. */
  current() {
    return { ...(this.choice ?? {}), ...this.notes, labels: this.labels, sides: this.sides };
  }

  note(event) {
    this.notes = { ...this.notes, ...event.detail };
    if (event.detail.comment?.trim()) this.wanted = '';
    this.tell('draft', this.current());
  }

  label(event) {
    this.labels = { ...this.labels, [event.detail.slot]: event.detail.values };
    this.tell('draft', this.current());
  }

  side(event) {
    this.sides = event.detail;
    this.tell('draft', this.current());
  }

  choose(choice) {
    this.choice = choice;
    this.send();
  }

  send() {
    if (!this.choice) {
      this.tell('say', 'First choose which response is better.');
      void this.focusOn('accord-scale button');
      return;
    }
    const asked = this.choice.outcome !== 'cannot_compare';
    for (const labels of asked ? this.querySelectorAll('accord-labels') : []) {
      if (!labels.check()) {
        this.tell('say', 'Please answer the questions about each response.');
        return;
      }
    }
    if (asked && this.querySelector('accord-sides')?.check() === false) {
      this.tell('say', 'Please answer the questions about both responses.');
      return;
    }
    this.wanted = commentWanted(this.task.schema, this.choice, this.notes.comment);
    if (this.wanted) {
      this.tell('draft', this.current());
      this.querySelector('accord-notes').act('comment');
      return;
    }
    this.tell('decide', this.current());
  }

  /** Digits belong to the labels, sides or reasons while these have the focus. */
  key(name) {
    const labels = document.activeElement?.closest('accord-labels');
    if (labels && this.contains(labels)) {
      if (/^\d$/.test(name)) return labels.digit(Number(name));
    }
    const sides = this.querySelector('accord-sides');
    if (sides?.contains(document.activeElement) && /^\d$/.test(name)) return sides.digit(Number(name));
    return this.querySelector('accord-notes').key(name);
  }

  act(action) {
    const choice = choiceOf(action, this.task.schema);
    if (choice) this.choose(choice);
    else if (action === 'submit') this.send();
    else if (action === 'sides') this.querySelector('accord-sides').start();
    else return this.querySelector('accord-notes').act(action);
    return true;
  }
}
customElements.define('accord-compare', Compare);
