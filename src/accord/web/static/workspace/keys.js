// The key map: what each key does, what people changed, and how a key press is named.

const KEPT = 'accord-keys';
const LEFT = ['1', '2', '3', '4'];
const RIGHT = ['0', '9', '8', '7'];
const WORDS = { 1: ['Better'], 2: ['Much', 'Slightly'], 3: ['Much', 'Clearly', 'Slightly'],
  4: ['Much', 'Clearly', 'Rather', 'Slightly'] };

/** @typedef {{id: string, keys: string[], text: string, group: 'judge'|'work'}} Action */

/** The steps of one side, strongest first: [{strength, word}]. */
export function steps(count) {
  return (WORDS[count] ?? []).map((word, index) => ({ strength: count - index, word }));
}

const WORK = [
  ['skip', ['s'], 'Skip this task'],
  ['undo', ['u', 'Backspace'], 'Go back to the last answer'],
  ['comment', ['c'], 'Write a comment'],
  ['sides', ['w'], 'Answer the questions about both (1: A, 2: equal, 3: B)'],
  ['reasons', ['r'], 'Choose reasons (then 1, 2, 3 …)'],
  ['guideline', ['g'], 'Show or hide the guideline'],
  ['question', ['q'], 'Ask the researchers'],
  ['help', ['?'], 'Show this list'],
];

function pair(schema) {
  if (!schema.strength_steps) {
    return [['left-1', ['1', 'ArrowLeft'], 'A is better'],
      ['right-1', ['2', 'ArrowRight'], 'B is better']];
  }
  const words = steps(schema.strength_steps);
  const say = (word) => (word === 'Better' ? 'better' : `${word.toLowerCase()} better`);
  return [
    ...words.map(({ word }, i) => [`left-${i + 1}`, [LEFT[i]], `A is ${say(word)}`]),
    ...words.map(({ word }, i) => [`right-${i + 1}`, [RIGHT[i]], `B is ${say(word)}`]).reverse(),
  ];
}

function judging(task, schema) {
  const outcomes = [
    schema.allow_tie && ['tie', [schema.strength_steps ? '5' : '3'], 'Both about the same'],
    schema.allow_both_bad && ['both_bad', [schema.strength_steps ? '6' : '4'], 'Both are bad'],
    schema.allow_cannot_compare && ['cannot_compare', ['x'], 'I cannot compare them'],
  ].filter(Boolean);
  const submit = ['submit', ['Enter'], 'Send, where one key is not enough'];
  if (task === 'compare') return [...pair(schema), ...outcomes, submit];
  if (task === 'chat') {
    return [...pair(schema), ...outcomes, submit,
      ['edit-a', ['a'], 'Improve answer A'], ['edit-b', ['b'], 'Improve answer B']];
  }
  if (task === 'rank') {
    return [
      ...Array.from({ length: 9 }, (_, i) => [`pick-${i + 1}`, [`${i + 1}`],
        `Place or select response ${'ABCDEFGHI'[i]}`]),
      ['up', ['ArrowUp'], 'Move the selected response up'],
      ['down', ['ArrowDown'], 'Move it down'],
      schema.allow_tie && ['tie', ['='], 'Tie it with the one above'],
      ['remove', ['Delete'], 'Take it out of the ranking'],
      submit,
    ].filter(Boolean);
  }
  return [['submit', ['Ctrl+Enter'], 'Send the answer']];
}

/** Default actions of a task. @returns {Action[]} */
export function actions(task, schema) {
  const named = (group) => ([id, keys, text]) => ({ id, keys, text, group });
  const fits = ([id]) => (id === 'comment' ? schema.comment !== 'off' && task !== 'demonstrate'
    : id === 'reasons' ? schema.reasons.length > 0 && task !== 'demonstrate'
      : id === 'sides' ? task === 'compare' && schema.pair_labels.length > 0
      : id === 'skip' ? task !== 'chat' : true);
  return [...judging(task, schema).map(named('judge')),
    ...WORK.filter(fits).map(named('work'))];
}

/** A key press as the map writes it; '' for what is no command. @param {KeyboardEvent} event */
export function nameOf(event) {
  if (event.metaKey || event.altKey || event.isComposing) return '';
  // On some keyboards digits need Shift; the key in the number row counts as its digit.
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  const key = digit && !event.shiftKey ? digit[1] : event.key;
  if (['Shift', 'Control', 'AltGraph', 'CapsLock', 'Tab', 'Escape'].includes(key)) return '';
  const letter = key.length === 1 ? key.toLowerCase() : key;
  return event.ctrlKey ? `Ctrl+${letter}` : letter;
}

/** What a key is called on the screen. @param {string} key */
export function shown(key) {
  const signs = { ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', ' ': 'Space' };
  return signs[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** The keys of one kind of task, as this rater has them. */
export class KeyMap {
  /** @param {string} task @param {object} schema @param {object} [server] the account's own keys */
  constructor(task, schema, server = {}) {
    this.task = task;
    this.defaults = actions(task, schema);
    const kept = readKept();
    this.off = Boolean(kept.off);
    const changed = { ...server?.[task], ...kept[task] };
    this.actions = this.defaults.map((action) => (
      Array.isArray(changed[action.id]) ? { ...action, keys: changed[action.id] } : action));
  }

  /** @param {string} name of a key @returns {string} action, or '' */
  action(name) {
    if (this.off && !name.startsWith('Ctrl+') && name.length === 1) return '';
    return name ? this.actions.find((action) => action.keys.includes(name))?.id ?? '' : '';
  }

  /** The first key of an action as shown on its button. */
  hint(id) {
    const action = this.actions.find((each) => each.id === id);
    return action?.keys.length && !this.off ? shown(action.keys[0]) : '';
  }

  /** Gives a key to an action; who had it before gets what this one had. */
  change(id, name) {
    const mine = this.actions.find((action) => action.id === id);
    const other = this.actions.find((action) => action.id !== id && action.keys.includes(name));
    this.actions = this.actions.map((action) => {
      if (action.id === id) return { ...action, keys: [name] };
      return action === other ? { ...action, keys: mine.keys } : action;
    });
    this.keep();
    return other;
  }

  reset() {
    this.actions = this.defaults;
    this.keep();
  }

  setOff(off) {
    this.off = off;
    this.keep();
  }

  /** What differs from the map as it came: {action: keys}. */
  changes() {
    return Object.fromEntries(this.actions
      .filter((action, i) => action.keys.join() !== this.defaults[i].keys.join())
      .map((action) => [action.id, action.keys]));
  }

  keep() {
    const kept = readKept();
    kept.off = this.off;
    kept[this.task] = this.changes();
    try {
      localStorage.setItem(KEPT, JSON.stringify(kept));
    } catch { /* this browser keeps nothing; the change lasts as long as the page */ }
  }
}

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? '{}');
  } catch {
    return {};
  }
}
