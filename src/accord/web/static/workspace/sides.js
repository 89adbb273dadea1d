// Questions about a pair beside the verdict: which of the two has more of something, or neither.

import { live } from '../vendor/lit.js';
import { Part, hint, html, nothing } from './ui.js';

const ANSWERS = [['a', 'A'], ['equal', 'Equal'], ['b', 'B']];

export class Sides extends Part {
  static properties = { labels: {}, keys: {}, values: {}, missing: {} };

  constructor() {
    super();
    this.values = {};
    this.missing = [];
  }

  render() {
    return html`<section class="sides" aria-label="About both responses">
      ${this.labels.map((label, i) => html`<fieldset class="side-row" data-label=${label.name}>
        <legend>${label.text}${i === 0 ? html` ${hint(this.keys, 'sides')}` : nothing}
          ${this.missing.includes(label.name) ? html` <span class="wanted">please answer</span>`
            : nothing}</legend>
        <div class="side-answers">${ANSWERS.map(([value, text], n) => html`<label>
          <input type="radio" name=${`side-${label.name}`} value=${value}
            .checked=${live(this.values[label.name] === value)}
            @change=${() => this.set(label.name, value)}>
          <span><kbd aria-hidden="true">${n + 1}</kbd>${text}</span></label>`)}</div>
      </fieldset>`)}
    </section>`;
  }

  set(name, value) {
    this.values = { ...this.values, [name]: value };
    this.missing = this.missing.filter((each) => each !== name);
    this.tell('side', this.values);
  }

  /** 1, 2 and 3 answer the question that has the focus, and go on to the next. */
  digit(number) {
    const row = document.activeElement?.closest('.side-row');
    if (!row || !this.contains(row) || number < 1 || number > ANSWERS.length) return false;
    this.set(row.dataset.label, ANSWERS[number - 1][0]);
    const next = row.nextElementSibling ?? row;
    void this.focusOn(`[data-label="${next.dataset.label}"] input`);
    return true;
  }

  /** Goes to the first question without an answer. */
  start() {
    const open = this.labels.find(({ name }) => !(name in this.values)) ?? this.labels[0];
    void this.focusOn(`[data-label="${open.name}"] input`);
  }

  /** Shows what is missing and goes there. @returns {boolean} whether all that must be is answered */
  check() {
    this.missing = this.labels.filter((label) => label.required && !(label.name in this.values))
      .map(({ name }) => name);
    if (this.missing.length) void this.focusOn(`[data-label="${this.missing[0]}"] input`);
    return this.missing.length === 0;
  }
}
customElements.define('accord-sides', Sides);
