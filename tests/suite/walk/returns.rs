//! The walk's ways back: what was saved, and calls that are refused.

use miadam::{Dtype, Hyperparams};

use super::device::{Device, New, narrow};
use super::model::Model;
use super::settings::{once_in, pick};
use super::turns::{Saved, Walk, add};

impl<D: Device> Walk<D> {
    /// Keeps what there is, or goes back to what was kept.
    pub fn save_or_load(&mut self) {
        if once_in(&mut self.random, 30) {
            self.note("save".to_owned());
            let checkpoint = self.device.checkpoint();
            self.saved = Some(Saved { model: self.model.clone(), grad_dtypes: self.grad_dtypes.clone(), checkpoint });
        }
        if once_in(&mut self.random, 40)
            && let Some(Saved { model, grad_dtypes, checkpoint }) = self.saved.take()
        {
            let loaded = self.model.loaded(&model);
            self.note(format!("load, which is right: {}", loaded.is_some()));
            let found = self.device.load(&checkpoint);
            assert_eq!(found.is_ok(), loaded.is_some(), "{found:?}");
            if let Some(loaded) = loaded {
                self.model = loaded;
            }
            self.compare();
            self.saved = Some(Saved { model, grad_dtypes, checkpoint });
        }
        // A new optimizer on the GPU would compile all of its kernels.
        if D::KNOWS_AT_ONCE && once_in(&mut self.random, 100) {
            self.start_again();
        }
    }

    /// Goes on from what was saved with another optimizer, as another process does.
    fn start_again(&mut self) {
        let Some(Saved { model: saved, grad_dtypes, checkpoint }) = &self.saved else { return };
        let mut model = Model::default();
        let mut groups = Vec::new();
        for (group, hyperparams) in saved.groups.iter().enumerate() {
            let own = saved.params.iter().filter(|(_, tensor)| tensor.group == group);
            let zeros = own.map(|(name, tensor)| New {
                name: name.clone(),
                param: narrow(tensor.dtype, &vec![0.0; tensor.len()]),
                grad_dtype: grad_dtypes[name],
            });
            let zeros: Vec<_> = zeros.collect();
            // A new optimizer has no groups without parameters.
            if zeros.is_empty() {
                return;
            }
            model.groups.push(Hyperparams { lr: 0.5, ..hyperparams.clone() });
            zeros.iter().for_each(|new| add(&mut model, group, new));
            groups.push((model.groups[group].clone(), zeros));
        }
        self.device = D::new(&groups, self.random.bits()).unwrap();
        self.device.load(checkpoint).unwrap();
        self.model = model.loaded(saved).unwrap();
        self.grad_dtypes.clone_from(grad_dtypes);
        self.grads = saved.params.iter().map(|(name, tensor)| (name.clone(), vec![0.0; tensor.len()])).collect();
        self.note("start again".to_owned());
        self.compare();
    }

    /// Calls that are refused, each of which names something that is right before what is wrong.
    pub fn be_refused(&mut self) {
        if !once_in(&mut self.random, 8) {
            return;
        }
        let names: Vec<_> = self.model.params.keys().cloned().collect();
        let name = pick(&mut self.random, &names);
        let groups = self.model.groups.len();
        let [unknown, twice] = [[&name[..], "nobody"], [&name, &name]];
        let optimizer = self.device.optimizer();
        for wrong in [unknown, twice] {
            assert!(optimizer.freeze(wrong).is_err());
            assert!(optimizer.thaw(wrong).is_err());
            assert!(optimizer.skip(wrong).is_err());
            assert!(optimizer.set_group(wrong, 0).is_err());
            assert!(optimizer.remove_params(wrong).is_err());
        }
        assert!(optimizer.set_group([&name], groups).is_err());
        assert!(optimizer.remove_params(&names).is_err());
        assert!(optimizer.set_hyperparams(groups, Hyperparams::default()).is_err());
        assert!(optimizer.set_hyperparams(0, Hyperparams { beta1: 1.0, ..Hyperparams::default() }).is_err());
        let there = New { name, param: narrow(Dtype::F32, &[0.0; 3]), grad_dtype: Dtype::F32 };
        assert!(self.device.add_params(0, std::slice::from_ref(&there)).is_err());
        assert!(self.device.add_group((Hyperparams::default(), vec![there.clone()])).is_err());
        assert!(self.device.remap(&[there], 0, &[]).is_err());
        self.compare();
    }
}
