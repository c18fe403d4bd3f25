import { Client, Connection, ScheduleOverlapPolicy } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  applySchedule,
  applyTriggerSchedule,
  deleteSchedules,
  pauseSchedule,
  triggerCycle,
} from '../../activities/schedule.ts';
import { triggersSection } from '../../config/trigger-section.ts';
import { scheduleId, triggerScheduleId } from '../../config/names.ts';

const line = `schedule-${String(process.pid)}`;
const every = 7_200_000;
const config = { line, schedule: { every, catchUp: every } };
let connection: Connection;
let client: Client;

beforeAll(async () => {
  connection = await Connection.connect({ address: inject('temporalAddress') });
  client = new Client({ connection });
});

afterEach(async () => {
  await deleteSchedules(client, line);
});

afterAll(async () => {
  await connection.close();
});

describe('the schedule of a line', () => {
  it('fires first when it is told to, not an interval earlier, and then every interval', async () => {
    const firstAtMs = Math.ceil(Date.now() / 1_000) * 1_000 + every + 2_000;

    expect(await applySchedule(client, config, { firstAtMs })).toBe('created');

    const { info, policies } = await client.schedule.getHandle(scheduleId(line)).describe();
    expect(info.nextActionTimes.slice(0, 2).map((time) => time.getTime())).toEqual([firstAtMs, firstAtMs + every]);
    expect(policies).toMatchObject({ overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: every });
  });

  it('fires as often as online updates come, one at a time all the same', async () => {
    const online = { every: 1_800_000, shadow: 60_000, window: 300_000 };
    await applySchedule(client, { ...config, training: { online } });

    const { spec, policies } = await client.schedule.getHandle(scheduleId(line)).describe();
    expect(spec.intervals?.map((interval) => interval.every)).toEqual([1_800_000]);
    expect(policies).toMatchObject({ overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: every });
  });

  it('is brought in line with a changed config, and stays paused when it was', async () => {
    await applySchedule(client, config);
    await pauseSchedule(client, { line, note: 'by hand' });

    expect(await applySchedule(client, { line, schedule: { every: 3_600_000, catchUp: 60_000 } })).toBe('updated');

    const { spec, state } = await client.schedule.getHandle(scheduleId(line)).describe();
    expect(spec.intervals?.[0]?.every).toBe(3_600_000);
    expect(state).toMatchObject({ paused: true, note: 'by hand' });
  });

  it('is named with what to do when a cycle is triggered without one; pausing none is no error', async () => {
    await expect(triggerCycle(client, line)).rejects.toThrow(/freshet schedule apply/);
    await expect(pauseSchedule(client, { line, note: '' })).resolves.toBeUndefined();
  });
});

describe('the schedule of the triggers of a line', () => {
  it('is made, changed and deleted with the config, and stays paused when it was', async () => {
    const triggers = triggersSection.parse(undefined);
    const handle = client.schedule.getHandle(triggerScheduleId(line));

    expect(await applyTriggerSchedule(client, { line, triggers })).toBe('created');
    expect((await handle.describe()).spec.intervals?.[0]?.every).toBe(600_000);
    await handle.pause('by hand');
    expect(await applyTriggerSchedule(client, { line, triggers: { ...triggers, every: 60_000 } })).toBe('updated');
    const { spec, state, policies } = await handle.describe();
    expect(spec.intervals?.[0]?.every).toBe(60_000);
    expect(state.paused).toBe(true);
    expect(policies.overlap).toBe(ScheduleOverlapPolicy.SKIP);

    expect(await applyTriggerSchedule(client, { line, triggers: { ...triggers, watch: [] } })).toBe('deleted');
    await expect(handle.describe()).rejects.toThrow();
    await expect(deleteSchedules(client, line)).resolves.toBeUndefined();
  });
});
