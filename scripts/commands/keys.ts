import { type Command, InvalidArgumentError, Option } from 'commander';
import { formatDuration, parseDuration } from '../../config/duration.ts';
import { fingerprintOf, type KeptKey } from '../../serving/signing-keys.ts';
import { listLines } from '../../store/lines.ts';
import { askGateways } from '../keys/ask-gateways.ts';
import { changeKeyFile, createKeyFile, readKeyFile } from '../keys/key-file.ts';
import { dueStep, keyState, rotate, ROTATION_STEPS, type KeyState, type RotationStep } from '../keys/rotation.ts';
import { messageOf } from '../stack/say.ts';
import { keyFileOf, newKey, newSecret } from '../stack/token-keys.ts';
import type { Access } from './access.ts';
import { type CommandResult, runs, table, time } from './run-command.ts';

/** Longer than Kubernetes takes to bring a changed secret into every pod. */
const SETTLE = '5m';

interface RotateOptions {
  file?: string;
  step?: RotationStep;
  gateway: string[];
  tokenTtl?: number;
  settle: number;
  force?: boolean;
}

/** `keys create`, `keys show`, `keys rotate`: the secrets that sign rank answers. No command prints one. */
export function registerKeyCommands(program: Command): void {
  const keys = program
    .command('keys')
    .description('the secrets by which gateways recognise the clicks on their answers');
  runs(withFile(keys.command('create').description('make a file with a first key')), {
    example: 'keys create --file /etc/freshet/token-keys',
    work: async (access, options: { file?: string }) => {
      const file = keyFileOf(options.file, access.env);
      const made = [newKey()];
      if (!(await createKeyFile(file, made))) throw new Error(`${file} exists: "freshet keys rotate" changes its keys`);
      return described(file, made, `${file} is made: give it to every gateway as FRESHET_TOKEN_KEYS_FILE`);
    },
  });

  runs(
    withFile(keys.command('show').description('the keys of a file, without their secrets, and the step that is due')),
    {
      example: 'keys show',
      work: async (access, options: { file?: string }) => {
        const file = keyFileOf(options.file, access.env);
        return described(file, await readKeyFile(file), file);
      },
    },
  );

  const command = withFile(
    keys.command('rotate').description('do one step of a rotation; bring the file to every gateway after each'),
  )
    .addOption(new Option('--step <step>', 'the step; the one that is due when left out').choices(ROTATION_STEPS))
    .option('--gateway <url...>', 'the gateways, to be asked whether they have the keys before one signs', [])
    .option(
      '--token-ttl <duration>',
      'the longest label.tokenTtl of the lines; read from the database when left out',
      milliseconds,
    )
    .option(
      '--settle <duration>',
      'how long it takes until every gateway has a changed file',
      milliseconds,
      parseDuration(SETTLE),
    )
    .option('--force', 'do it although clicks may be lost: for a key that leaked');
  runs(command, {
    example: 'keys rotate --file /etc/freshet/token-keys --gateway http://10.0.0.7:8090',
    work: rotateKeys,
  });
}

function withFile(command: Command): Command {
  return command.option('--file <path>', 'FRESHET_TOKEN_KEYS_FILE, or the file of "freshet up", when left out');
}

function milliseconds(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

async function rotateKeys(access: Access, options: RotateOptions): Promise<CommandResult> {
  const file = keyFileOf(options.file, access.env);
  const { gateway, settle: settleMs, force = false } = options;
  let step: RotationStep = 'add';
  const keys = await changeKeyFile(file, async (before) => {
    step = options.step ?? dueStep(before);
    if (gateway.length > 0 && !force) {
      await askGateways(gateway, { accepted: before, signs: step === 'retire' ? (before[0] ?? null) : null });
    }
    const tokenTtlMs = step === 'retire' && !force ? await tokenTtl(access, options) : 0;
    const asked = gateway.length > 0;
    return rotate(before, { step, at: new Date(), makeSecret: newSecret, tokenTtlMs, settleMs, asked, force });
  });
  return described(file, keys, `${DONE[step]} Bring ${file} to every gateway now: they read it by themselves.`);
}

const DONE: Record<RotationStep, string> = {
  add: 'A key is added; nothing signs with it yet.',
  promote: 'The new key signs; the old one is still accepted.',
  retire: 'What no click can need any more is retired.',
};

async function tokenTtl(access: Access, { tokenTtl: given }: RotateOptions): Promise<number> {
  if (given !== undefined) return given;
  try {
    const lines = await listLines(await access.database());
    return Math.max(0, ...lines.map(({ config }) => config.label.tokenTtl));
  } catch (error) {
    throw new Error(
      `for how long lines take feedback can not be read (${messageOf(error)}): say it with --token-ttl, such as 48h`,
      { cause: error },
    );
  }
}

function described(file: string, keys: readonly KeptKey[], headline: string): CommandResult {
  const rows = keys.map((key, place) => ({
    ...{ id: key.id, state: keyState(keys, place), fingerprint: fingerprintOf(key) },
    ...{ addedAt: key.addedAt, replacedAt: key.replacedAt },
  }));
  const next = dueStep(keys);
  const text = table(
    rows.map(({ id, state, fingerprint, addedAt, replacedAt }) => [
      ...[id, WORDS[state], `fingerprint ${fingerprint}`],
      ...[addedAt === null ? '' : `added ${time(addedAt)}`, replacedAt === null ? '' : `replaced ${time(replacedAt)}`],
    ]),
  );
  return { data: { file, keys: rows, next }, text: `${headline}\n${text}\n${NEXT[next]}` };
}

const WORDS: Record<KeyState, string> = {
  signs: 'signs',
  next: 'accepted, signs next',
  replaced: 'accepted, signed before',
};

const NEXT: Record<RotationStep, string> = {
  add: 'A rotation begins with: freshet keys rotate --step add',
  promote: `Next, when every gateway has it (${formatDuration(parseDuration(SETTLE))}, or --gateway): freshet keys rotate --step promote`,
  retire: 'Next, when the last click on what the old key signed has expired: freshet keys rotate --step retire',
};
