import { z } from 'zod';
import { duration } from './duration.ts';

export const trainingSection = z
  .object({
    command: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('A trainer of your own that keeps the trainer contract; the reference trainer when left out.'),
    strategy: z
      .enum(['full', 'warmStart'])
      .default('warmStart')
      .describe('Cold starts train in full whatever this says.'),
    learningRate: z
      .number()
      .positive()
      .default(1e-4)
      .describe("Cold rate; for data as large as a feed's. Smaller lines set a larger one."),
    warmFactor: z
      .number()
      .positive()
      .max(1)
      .default(0.1)
      .describe('Warm starts learn at a tenth of the cold rate: they move what is known, not rewrite it.'),
    weightDecay: z.number().min(0).default(1e-4),
    epochs: z
      .number()
      .int()
      .min(1)
      .max(1_000)
      .default(4)
      .describe('Cold epochs; warm starts take max(1, epochs // 4).'),
    batchSize: z.number().int().min(1).default(1_024),
    hidden: z.array(z.number().int().min(1)).min(1).default([64, 32]).describe('Widths of the hidden layers.'),
    freezeBase: z.boolean().default(false).describe('Warm starts train only the top 25 % of the layers.'),
    seed: z.number().int().default(1),
    threads: z.number().int().min(1).default(1).describe('One thread: the same manifest gives the same bytes.'),
    checkpointEvery: duration.default(60_000).describe('Real time. What a killed trainer loses at most.'),
    timeout: duration.default(7_200_000).describe('Real time. A training that takes half a cycle is broken.'),
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

export const gateSection = z
  .object({
    metric: z.enum(['auc', 'logLoss']).default('auc').describe('What challenger and champion are compared by.'),
    tolerance: z
      .number()
      .min(0)
      .default(0.002)
      .describe('Non-inferiority margin: pass when the one-sided lower 95 % bound of the gain is at least minus this.'),
    thresholds: z
      .array(
        z
          .object({
            metric: z.enum(['auc', 'logLoss', 'calibration']),
            min: z.number().optional(),
            max: z.number().optional(),
          })
          .strict(),
      )
      .default([{ metric: 'auc', min: 0.55 }])
      .describe('Absolute; each blocks only if the whole interval lies on the wrong side.'),
    replicates: z
      .number()
      .int()
      .min(200)
      .max(100_000)
      .default(1_000)
      .describe('Bootstrap replicates; 1,000 put the 95 % bound within 2 % of its own width.'),
    onInconclusive: z.enum(['ask', 'reject']).default('reject').describe('Unknown never promotes by itself.'),
    approval: z.enum(['never', 'onInconclusive', 'always']).default('never'),
    approvalDeadline: duration
      .default(14_400_000)
      .describe('Operating. One cycle: then the next has better data. No answer means reject.'),
  })
  .strict()
  .prefault({});
