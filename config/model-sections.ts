import { z } from 'zod';
import { duration } from './duration.ts';
import { share } from './fields.ts';

const factor = z.number().positive().max(10);

const ratesSection = z
  .object({
    known: factor.default(1).describe('Of rows that the parent trained.'),
    new: factor.default(1).describe('Of rows that are new.'),
    dense: factor.default(1).describe('Of the layers above.'),
  })
  .strict();

const repairSection = z
  .object({
    dormantShare: share
      .default(0.3)
      .describe('Of the hidden units of the parent; dormant: below a fortieth of the mean activation of its layer.'),
    shrink: z
      .number()
      .min(0.8)
      .max(1)
      .default(0.9)
      .describe('What is left of the layers; less than 0.8 forgets more than it repairs.'),
    perturb: z.number().min(0).max(1).default(0.1).describe('Share of freshly drawn first weights that is added.'),
  })
  .strict();

const onlineSection = z
  .object({
    every: duration
      .default(3_600_000)
      .describe(
        'Operating. The schedule then starts this often; every `schedule.every` one of the starts is a whole cycle.',
      ),
    shadow: duration.default(300_000).describe('Operating. Only a few weights moved: less can go wrong.'),
    window: duration.default(600_000).describe('Operating. Of the canary: done well before the next update is due.'),
  })
  .strict();

export const trainingSection = z
  .object({
    command: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('A trainer of your own that keeps the trainer contract; the reference trainer when left out.'),
    strategy: z
      .enum(['full', 'warmStart', 'incremental'])
      .default('incremental')
      .describe(
        'incremental: one pass over what is new, with a share of history, from where the parent stopped. Cold starts, re-anchoring and drift train in full whatever this says.',
      ),
    reanchorEvery: duration
      .default(604_800_000)
      .describe('Event. A week: errors of small steps add up, and a training in full forgets them.'),
    online: onlineSection.optional().describe('Updates of the linear part alone, between cycles.'),
    repair: repairSection
      .prefault({})
      .describe('Shrinks and perturbs the layers of a parent that has lost plasticity (units that no input moves).'),
    learningRate: z
      .number()
      .positive()
      .default(1e-4)
      .describe(
        "Of embeddings and layers, cold; for data as large as a feed's. Where `tune` holds, it is where the search begins.",
      ),
    wideLearningRate: z
      .number()
      .positive()
      .default(0.1)
      .describe('Of the linear part, by Adagrad: each weight slows down by itself, so one rate fits most lines.'),
    warmFactor: z
      .number()
      .positive()
      .max(1)
      .default(0.1)
      .describe('With warmStart: a tenth of the cold rate moves what is known, and does not rewrite it.'),
    tune: z
      .boolean()
      .default(true)
      .describe(
        'Trainings in full choose the rates and the number of epochs by progressive validation: each block is scored before it is trained on.',
      ),
    rates: ratesSection
      .optional()
      .describe(
        'Factors on the learning rate of incremental updates; chosen by the last training in full when left out.',
      ),
    warmup: share.default(0.05).describe('Share of the steps in which the rate grows to its full size.'),
    decay: z
      .number()
      .positive()
      .max(1)
      .default(0.3)
      .describe('The rate falls to this factor by the last step: what is served is not the noise of the last batches.'),
    weightDecay: z.number().min(0).default(1e-4),
    epochs: z
      .number()
      .int()
      .min(1)
      .max(1_000)
      .default(4)
      .describe(
        'At most, cold; where `tune` holds, fewer when a later one makes the newest rows worse. Warm starts take max(1, epochs // 4).',
      ),
    batchSize: z.number().int().min(1).default(1_024),
    hidden: z.array(z.number().int().min(1)).min(1).default([64, 32]).describe('Widths of the hidden layers.'),
    freezeBase: z.boolean().default(false).describe('Warm starts train only the top 25 % of the layers.'),
    admitAfter: z
      .number()
      .int()
      .min(1)
      .default(1)
      .describe(
        'Rows in which an id must be seen before it owns a row of its table; until then it shares one with all rare ids. 1: even a first row teaches something about its id; `buckets` and `expireAfter` bound the table.',
      ),
    expireAfter: duration.default(2_592_000_000).describe('Event. An id that was not seen for a month loses its row.'),
    negativeShare: share
      .positive()
      .default(1)
      .describe('Share of the negative rows that trains; the model is corrected for it, so probabilities stay right.'),
    recencyHalfLife: duration
      .optional()
      .describe('Event. Rows that are older by this weigh half as much; all rows weigh the same when left out.'),
    positions: z
      .number()
      .int()
      .min(0)
      .max(1_000)
      .default(0)
      .describe(
        'Positions that training tells apart (the rest count as the last); a constant when serving. 0: the position is no input.',
      ),
    distillation: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .describe("Share of the target that is the parent's probability and not the label: steadier, slower to learn."),
    seed: z.number().int().default(1),
    threads: z.number().int().min(1).default(1).describe('One thread: the same manifest gives the same bytes.'),
    devices: z
      .number()
      .int()
      .min(1)
      .max(16)
      .default(1)
      .describe('GPUs of one training where the machine has any; several train through torchrun.'),
    priority: z.number().int().min(1).max(5).default(3).describe('1 first. Of the trainings that wait for a device.'),
    fairnessWeight: z
      .number()
      .min(0.001)
      .max(1_000)
      .default(1)
      .describe(
        'Share of the devices among lines of one priority that wait: a thousand small lines do not starve a large one.',
      ),
    checkpointEvery: duration.default(60_000).describe('Real time. What a killed trainer loses at most.'),
    timeout: duration
      .default(7_200_000)
      .describe(
        'Real time, of one try; all tries together, waiting included, may take twice that. A training that takes half a cycle is broken.',
      ),
    minScoreChange: z
      .number()
      .min(0)
      .default(0.005)
      .describe(
        "The cycle warns when new scores differ from the champion's by less than this everywhere: the rate is too small for the data.",
      ),
  })
  .strict()
  .prefault({});
