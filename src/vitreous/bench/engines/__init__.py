"""Engines: who computes the shards of an evaluation, and where. All give the same rows, to the bit.

An engine is a module with one function, `run(job, todo, workers, tell)`: it is given a `Job` and the numbers of the
shards still to do, tells of each sample that is done, and gives a `Done` for each shard, in any order. The caller alone
writes the folder of the run and holds its lock.

    local      in this process, one shard after the other
    processes  worker processes on this machine
    ray        a pool of actors of Ray, on this machine or on a cluster (extra "ray")

A shard is computed by one worker with the batch size of the plan and the number of threads of the manifest, and no
batch crosses two shards. So it does not matter who computes it, nor whether somebody died on the way.
"""
