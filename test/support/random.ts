// Chance that can be repeated. Lives in the bench, which is compiled apart and can't import tests.

export { Dice } from '../../bench/support/dice.ts';
