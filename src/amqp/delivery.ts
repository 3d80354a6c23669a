import type { Place } from '../core/linked-list.js'
import type { Channel } from './channel.js'
import type { DriverMessage } from './driver.js'
import { Message } from './message.js'
import type { Id } from './recent-ids.js'

/** Who runs the handler of a delivery and tells the broker what became of it. @internal */
export interface DeliveryOwner {
  /** The delivery that `delivery` waited for ended well: it is done too. */
  readonly repeated: (delivery: Delivery) => void
  /** The delivery that `delivery` waited for failed: so has this one. */
  readonly failed: (delivery: Delivery, verdict: Verdict, failures: number) => void
  /** The delivery that `delivery` waited for was given up: nobody knows what became of the message. */
  readonly admit: (delivery: Delivery) => void
}

/** What is to become of a message whose handler failed. @internal */
export type Verdict = 'requeue' | 'reject' | 'ack'

/** One message on one channel, from its arrival until the broker is told what became of it. @internal */
export class Delivery {
  readonly raw: DriverMessage
  readonly channel: Channel
  readonly owner: DeliveryOwner
  readonly message: Message
  /** What tells it from other messages; `undefined` for one whose copies cannot be told. */
  id: Id | undefined
  /** True when an earlier delivery may have been the same message. */
  isSuspect = false
  /** True when its handler has failed here before. */
  hasFailed = false
  /** In the list of those that wait or run. */
  place: Place<Delivery> | undefined
  /** In the list of what a stream still has to do. */
  mark: Place<number> | undefined
  /** The delivery in work of the same message. */
  leader: Delivery | undefined
  /** Copies that wait for this one. */
  #followers: Set<Delivery> | undefined

  constructor(raw: DriverMessage, channel: Channel, owner: DeliveryOwner) {
    this.raw = raw
    this.channel = channel
    this.owner = owner
    this.message = new Message(raw)
  }

  /** Waits for `leader` instead of being handled. */
  follow(leader: Delivery): void {
    this.leader = leader
    leader.#followers ??= new Set()
    leader.#followers.add(this)
  }

  /** Waits no longer. */
  unfollow(): void {
    if (this.leader !== undefined) this.leader.#followers?.delete(this)
    this.leader = undefined
  }

  /** Takes off those that wait for this one. */
  dismissFollowers(): readonly Delivery[] {
    if (this.#followers === undefined) return NONE
    const followers = [...this.#followers]
    this.#followers = undefined
    for (const follower of followers) follower.leader = undefined
    return followers
  }
}

const NONE: readonly Delivery[] = Object.freeze([])
