import { freshetProgram } from './commands/program.ts';

await freshetProgram().parseAsync();
