//! Are bodies that other people collected answered as they should be? The whole suites run when `TIDEMARK_DATA` names a
//! folder that holds them.

use super::start;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// JSONTestSuite (MIT, N. Seriot): `n_` is no JSON, `i_` is for each parser to decide.
#[tokio::test]
async fn json_test_suite_as_bodies() {
    let Some(folder) = std::env::var_os("TIDEMARK_DATA").map(std::path::PathBuf::from) else {
        println!("SKIPPED: JSONTestSuite needs TIDEMARK_DATA to name the folder with the public suites");
        return;
    };
    let served = start();
    let (mut refused, mut decided) = (0, 0);
    for entry in std::fs::read_dir(folder.join("jsontestsuite/test_parsing")).expect("the suite's folder") {
        let entry = entry.expect("a file");
        let name = entry.file_name().into_string().expect("a plain name");
        let body = std::fs::read(entry.path()).expect("a readable file");
        for content_type in [STRUCTURED, BATCHED] {
            let before = served.memory.requests();
            match name.as_bytes()[0] {
                b'n' => {
                    let (status, _) = served.post("/v1/events", content_type, body.clone()).await;
                    assert_eq!((status, served.memory.requests()), (400, before), "{name} as {content_type}");
                    refused += 1;
                }
                b'i' => {
                    let first = served.post("/v1/events", content_type, body.clone()).await;
                    assert_eq!(first, served.post("/v1/events", content_type, body.clone()).await, "{name}");
                    decided += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!((refused, decided), (2 * 188, 2 * 35), "the whole suite");
}
