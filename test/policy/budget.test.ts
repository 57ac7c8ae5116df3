import { describe, expect, it } from 'vitest';
import { createBudget } from '../../src/policy/budget.ts';

describe('a budget', () => {
  it('allows its capacity at once and refuses what goes beyond', () => {
    const budget = createBudget(10, 1_000);
    for (let n = 0; n < 10; n += 1) expect(budget.spend(1, 5)).toBe(true);
    expect(budget.spend(1, 5)).toBe(false);
  });

  it('refills evenly, never above its capacity', () => {
    const budget = createBudget(10, 1_000);
    expect(budget.spend(10, 0)).toBe(true);
    expect(budget.spend(5, 499)).toBe(false);
    expect(budget.spend(5, 501)).toBe(true);
    expect(budget.spend(11, 1_000_000)).toBe(false);
    expect(budget.spend(10, 1_000_000)).toBe(true);
  });

  it('spends nothing when it refuses', () => {
    const budget = createBudget(10, 1_000);
    expect(budget.spend(11, 0)).toBe(false);
    expect(budget.spend(10, 0)).toBe(true);
  });

  it('refills nothing when the clock goes backwards', () => {
    const budget = createBudget(10, 1_000);
    expect(budget.spend(10, 1_000)).toBe(true);
    expect(budget.spend(1, 0)).toBe(false);
  });
});
