//! A DHT node ends with the app. Alone in its process, as it counts threads.

use passalong_tests::dht::{Internet, threads};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_dht_is_left_when_the_app_is_closed() {
    let internet = Internet::new(5).await;
    let ana = internet.hidden("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    internet.announced(&share.code).await;
    assert!(threads() > 5);
    let ended = async {
        let _closed = ana.close().await;
        while threads() > 5 {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    let ended = tokio::time::timeout(patience, ended).await;
    ended.expect("her node ends with her app");
}
