import { z } from 'zod';

/** The part of KServe's InferenceService (serving.kserve.io/v1beta1, Knative mode) that a rollout reads and writes. */
export const inferenceServiceSchema = z.object({
  metadata: z.object({
    name: z.string(),
    resourceVersion: z.string(),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.object({
    predictor: z.object({
      canaryTrafficPercent: z.number().int().optional(),
      model: z.object({ storageUri: z.string() }),
    }),
  }),
  status: z
    .object({
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), reason: z.string().optional() }))
        .default([]),
      components: z
        .object({
          predictor: z
            .object({
              latestCreatedRevision: z.string().optional(),
              latestReadyRevision: z.string().optional(),
              latestRolledoutRevision: z.string().optional(),
              traffic: z
                .array(
                  z.object({
                    revisionName: z.string(),
                    percent: z.number(),
                    latestRevision: z.boolean(),
                    tag: z.string().optional(),
                  }),
                )
                .default([]),
            })
            .default({ traffic: [] }),
        })
        .default({ predictor: { traffic: [] } }),
    })
    .default({ conditions: [], components: { predictor: { traffic: [] } } }),
});

export type InferenceService = z.infer<typeof inferenceServiceSchema>;
export type Predictor = InferenceService['status']['components']['predictor'];

export const servicePath = (namespace: string, name: string): string =>
  `/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices/${name}`;
