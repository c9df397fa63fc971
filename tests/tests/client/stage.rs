//! One server for many concurrent cases: each case has its own base URL, and a response for each of
//! its requests.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use atlasent_tests::server::{Reply, Request, Server, unscripted};
use serde_json::json;

use crate::cases::{Call, TOKEN};

/// A server, and its responses in each case.
pub(crate) struct Stage {
    server: Server,
    scenes: Scenes,
    next: AtomicUsize,
    /// The number of requests outside of any case, such as to the target of a redirect.
    strayed: Arc<AtomicUsize>,
}

type Scenes = Arc<Mutex<HashMap<String, Scene>>>;

/// The remaining responses to the two calls, and the number of requests of each.
#[derive(Debug, Default)]
struct Scene {
    replies: [VecDeque<Reply>; 2],
    asked: [usize; 2],
}

impl Stage {
    pub(crate) fn http1() -> Self {
        Self::new(|script| Server::start(script))
    }

    pub(crate) fn http2() -> Self {
        Self::new(|script| Server::start_http2(script))
    }

    fn new(start: impl FnOnce(Box<dyn Fn(&Request) -> Reply + Send + Sync>) -> Server) -> Self {
        let scenes = Scenes::default();
        let strayed = Arc::new(AtomicUsize::new(0));
        let script = {
            let (scenes, strayed) = (Arc::clone(&scenes), Arc::clone(&strayed));
            move |request: &Request| {
                reply(&scenes, request).unwrap_or_else(|| match is_late(request) {
                    true => unscripted(),
                    false => {
                        // A stray request gets an allow: a body that runs for it shows the fault.
                        strayed.fetch_add(1, Ordering::SeqCst);
                        let all =
                            json!({"decision": "allow", "permit_token": TOKEN, "valid": true});
                        Reply::json(200, all)
                    }
                })
            }
        };
        Self {
            server: start(Box::new(script)),
            scenes,
            next: AtomicUsize::new(0),
            strayed,
        }
    }

    /// Prepares a case. Requests beyond these responses get no useful answer.
    pub(crate) fn set(&self, evaluate: Vec<Reply>, verify: Vec<Reply>) -> Set<'_> {
        let name = format!("/{}", self.next.fetch_add(1, Ordering::SeqCst));
        let url = format!("{}{name}", self.server.url());
        let scene = Scene {
            replies: [evaluate.into(), verify.into()],
            asked: [0, 0],
        };
        self.scenes.lock().unwrap().insert(name.clone(), scene);
        Set {
            stage: self,
            name,
            url,
        }
    }

    pub(crate) fn strayed(&self) -> usize {
        self.strayed.load(Ordering::SeqCst)
    }
}

fn reply(scenes: &Scenes, request: &Request) -> Option<Reply> {
    let (name, which) = scene_of(request)?;
    let mut scenes = scenes.lock().unwrap();
    let scene = scenes.get_mut(name)?;
    scene.asked[which] += 1;
    Some(scene.replies[which].pop_front().unwrap_or_else(unscripted))
}

/// Returns the name of the case, and the call.
fn scene_of(request: &Request) -> Option<(&str, usize)> {
    let target = request.target.as_str();
    let which = |call: &Call| target.ends_with(call.path());
    let which = Call::BOTH.iter().position(which)?;
    Some((target.strip_suffix(Call::BOTH[which].path())?, which))
}

/// Returns whether the case is over: the request of a client that timed out may arrive later.
fn is_late(request: &Request) -> bool {
    let number = |name: &str| name.strip_prefix('/')?.parse::<usize>().ok();
    scene_of(request).is_some_and(|(name, _)| number(name).is_some())
}

/// One case on the stage. It ends when it is dropped.
pub(crate) struct Set<'a> {
    stage: &'a Stage,
    name: String,
    pub(crate) url: String,
}

impl Set<'_> {
    /// Returns the number of requests of each of the two calls.
    pub(crate) fn asked(&self) -> [usize; 2] {
        self.stage.scenes.lock().unwrap()[&self.name].asked
    }
}

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.stage.scenes.lock().unwrap().remove(&self.name);
    }
}
