// The row of buttons that decides between two responses. It lies as the number row of a keyboard
// does: strongest for A at the left end, strongest for B at the right end.

import { Part, hint, html, nothing } from './ui.js';
import { steps } from './keys.js';

const NAMES = { tie: 'About the same', both_bad: 'Both bad', cannot_compare: 'Cannot compare' };

/** A choice in words. @param {{outcome: string, strength?: number|null}} choice */
export function inWords(choice, schema) {
  if (choice.outcome === 'tie') return 'About the same';
  if (choice.outcome === 'both_bad') return 'Both bad';
  if (choice.outcome === 'cannot_compare') return 'Cannot compare';
  const step = steps(schema.strength_steps).find(({ strength }) => strength === choice.strength);
  const how = !step || step.word === 'Better' ? '' : `${step.word.toLowerCase()} `;
  return `${choice.outcome.toUpperCase()} ${how}better`;
}

/** The choice that an action of the key map stands for, or null. */
export function choiceOf(action, schema) {
  if (action in NAMES) return { outcome: action, strength: null };
  const found = /^(left|right)-(\d)$/.exec(action);
  if (!found) return null;
  const step = steps(schema.strength_steps)[Number(found[2]) - 1];
  return { outcome: found[1] === 'left' ? 'a' : 'b', strength: step ? step.strength : null };
}

export class Scale extends Part {
  static properties = { schema: {}, keys: {}, choice: {}, disabled: { type: Boolean } };

  constructor() {
    super();
    this.choice = null;
    this.disabled = false;
  }

  render() {
    const words = steps(this.schema.strength_steps);
    const left = words.length ? words.map(({ word }, i) => [`left-${i + 1}`, word])
      : [['left-1', 'A is better']];
    const right = words.length ? words.map(({ word }, i) => [`right-${i + 1}`, word]).reverse()
      : [['right-1', 'B is better']];
    const middle = ['tie', 'both_bad'].filter((name) => this.schema[`allow_${name}`]);
    const bare = words.length === 0;
    return html`<div class="scale ${bare ? 'bare' : ''}" role="group" aria-label=${this.schema.question}>
      ${this.side('A', left, bare)}
      ${middle.length ? html`<div class="middle">
        ${middle.map((name) => this.button(name, NAMES[name]))}</div>` : nothing}
      ${this.side('B', right, bare)}
    </div>`;
  }

  side(letter, buttons, bare) {
    return html`<div class="side side-${letter.toLowerCase()}">
      ${bare ? nothing : html`<span class="side-name" aria-hidden="true">${letter}<span> is better</span></span>`}
      <div class="steps">${buttons.map(([id, word]) => this.button(id, word))}</div></div>`;
  }

  button(id, word) {
    const choice = choiceOf(id, this.schema);
    const pressed = this.choice?.outcome === choice.outcome
      && (this.choice.strength ?? null) === (choice.strength ?? null);
    return html`<button type="button" class="step" data-action=${id} aria-pressed=${String(pressed)}
      aria-label=${inWords(choice, this.schema)} ?disabled=${this.disabled}
      @click=${() => this.tell('choose', choice)}>
      ${hint(this.keys, id)}<span>${word}</span></button>`;
  }
}
customElements.define('accord-scale', Scale);
