//! Callers who hang up in the middle: whatever was written by then, the next request finds whole.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use app::Error;
use domain::attempts::{Budgets, DAY};
use domain::challenge::State;
use domain::totp;

use crate::codes::Browser;
use crate::world::{World, told};

/// Runs `work` for so many polls at most, then drops it. `None` if that cut it off.
async fn cut_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|cx| {
        let Some(fewer) = left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        left = fewer;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_decided_challenge_whose_caller_hung_up_rings_no_more() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    let mut cut_off_decided = false;
    for polls in 1.. {
        let name = format!("user{polls}");
        let person = world.enrolled(&name).await;
        let first = world.create(&app, &name, "s1").await.view.id;
        let mut call = world.call();
        let cancelled = world.app.cancel_challenge(&mut call, &app, first);
        let done = cut_after(polls, cancelled).await.is_some();
        // in order behind whatever was left in the writer's queue
        world.written().await;
        if let State::Decided(_) = world.state(&app, first).await {
            cut_off_decided |= !done;
            let second = world.create(&app, &name, "s2").await.view.id;
            let cards = world.cards(&person.device, false).await;
            let cards: Vec<_> = cards.into_iter().map(|(id, _)| id).collect();
            assert_eq!(cards, [second], "cut after {polls} polls");
        }
        if done {
            break;
        }
    }
    assert!(cut_off_decided, "no cut fell behind the decision");
}

#[tokio::test]
async fn a_totp_factor_at_its_cap_is_locked_by_the_next_try_if_the_last_one_hung_up() {
    let world = World::new().await;
    let app = world.integration("vpn").await;
    for polls in 1.. {
        let name = format!("user{polls}");
        let person = world.enrolled(&name).await;
        let secret = &person.device.totp;
        let own = Browser::own(&world, &app, &name, &person.device).await;
        let budget = Budgets::DEFAULT.own;
        let pause = DAY / u32::from(budget.day.refill);
        let wrong = |world: &World| {
            let now = world.now();
            let near = [0, 30].map(|ago| totp::code(secret, now.minus(Duration::from_secs(ago))));
            (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).expect("a code")
        };
        let mut done = false;
        for n in 1..=budget.cap {
            world.pass(pause);
            let id = own.create(&world, &app, &name, &format!("s{n}")).await.view.id;
            let (mut call, code) = (world.call(), wrong(&world));
            let tried = world.app.submit_code(&mut call, &app, id, &code);
            if n < budget.cap {
                assert_eq!(tried.await.unwrap_err(), Error::CodeWrong);
            } else {
                done = cut_after(polls, tried).await.is_some();
            }
        }
        // one more, if the cut came before the count, and then one that meets the cap
        for n in 0..2 {
            world.pass(pause);
            let id = own.create(&world, &app, &name, &format!("t{n}")).await.view.id;
            let (mut call, code) = (world.call(), wrong(&world));
            let tried = world.app.submit_code(&mut call, &app, id, &code).await;
            assert_eq!(tried.unwrap_err(), Error::CodeWrong);
        }
        let created = world.create(&app, &name, "push").await;
        let answered = world.approve(&person.device, &created).await;
        told(answered);
        assert!(answered.totp_rebind, "cut after {polls} polls: dead, and never bound anew");
        if done {
            break;
        }
    }
}
