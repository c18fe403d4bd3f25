export { trainingCycle } from './training-cycle.ts';
export { watchTriggers } from './watch-triggers.ts';
